r"""Members of the recipe, each trained once in each fold, to judge any mixture of them.

A member is named FOLD:KIND:SEED. Its kind is what it learns from: P the photographs alone; D30 a
draw of rendered vessels that makes 30 % of what it sees, their dynasty left blank; L30 the same
with every label; W the photographs with some labels withheld, for `benchmarks.none_of_these`. The
folds are those of `real_photographs`. Raw logits of the validation and test photographs go to
`OUT/logits/foldFOLD-KIND-SEED.npz`, where `benchmarks.calibration`, `benchmarks.mixtures` and
`benchmarks.known_facts` read them.

    porcelain data render --out RENDERED --count 2400 --size 256 --seed 11 --like PHOTOS
    python -m benchmarks.members --data PHOTOS --rendered RENDERED --out runs/members \
        --backbone tf_mobilenetv3_small_075 --pretrained weights.safetensors 0:P:0 0:D30:1

A member that is there is not trained again, and one that was interrupted goes on from its last
epoch. `--prefix` names the members of another backbone.
"""

from __future__ import annotations

import csv
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from benchmarks.none_of_these import DEFAULT, unknown_labels
from benchmarks.real_photographs import write_logits
from porcelain.dataset import METADATA_FILE, load_dataset
from training.classifier.pipeline import Reporter, fit
from training.classifier.settings import TrainSettings
from training.data.split import make_folds, write_split

FOLDS: Final = 5
MEMBER: Final = re.compile(r"([0-4]):(P|W|[DL]([1-9][0-9]?)):(\d+)")


def main(
    members: Annotated[list[str], typer.Argument(help="FOLD:KIND:SEED, such as 0:D30:1.")],
    data: Annotated[Path, typer.Option(help="Dataset folder.")],
    rendered: Annotated[Path, typer.Option(help="Folder of rendered pictures.")],
    out: Annotated[Path, typer.Option(help="Folder for splits, checkpoints and logits.")],
    backbone: Annotated[str, typer.Option(help="timm model.")] = "mobilenetv3_large_100",
    pretrained: Annotated[str, typer.Option(help="auto or a file.")] = "auto",
    withhold: Annotated[str, typer.Option(help="Labels that W does not learn.")] = DEFAULT,
    prefix: Annotated[str, typer.Option(help="Put before the kind in the files' names.")] = "",
) -> None:
    """Train the members that are not there yet."""
    folds = make_folds(load_dataset(data), FOLDS, seed=0)
    for member in members:
        found = MEMBER.fullmatch(member)
        if found is None:
            raise typer.BadParameter(f"{member} is not FOLD:KIND:SEED, such as 0:D30:1")
        fold, kind, seed = int(found[1]), found[2], int(found[4])
        name = f"fold{fold}-{prefix}{kind}-{seed}"
        file = out / "logits" / f"{name}.npz"
        if file.is_file():
            continue
        work = out / "work" / name
        work.mkdir(parents=True, exist_ok=True)
        source, split = data, folds[fold]
        if kind == "W":
            source = withheld(data, work / "data", withhold)
            split = replace(split, dataset_digest=load_dataset(source).digest())
        write_split(work / "split.json", split)
        given: dict[str, Any] = {}
        if found[3] is not None:
            blank = ("dynasty",) if kind.startswith("D") else ()
            share = int(found[3]) / 100
            given = {"rendered": str(rendered), "rendered_share": share, "rendered_blank": blank}
        settings = TrainSettings(
            backbone=backbone, pretrained=pretrained, members=1, photograph_members=0, seed=seed,
            **given,
        )  # fmt: skip
        told = Reporter(
            message=lambda text, name=name: print(name, text, flush=True),
            epoch=lambda r, name=name: print(name, r.epoch, r.f1_macro, flush=True),
        )
        fitted = fit(source, work / "fit", settings, split=work / "split.json", reporter=told)
        write_logits(file, fitted)
        shutil.rmtree(work)


def withheld(data: Path, folder: Path, labels: str) -> Path:
    """A copy of a dataset folder in which these labels are blank."""
    shutil.copytree(data, folder, dirs_exist_ok=True)
    unknown = unknown_labels(labels)
    with (data / METADATA_FILE).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row |= {task: "" for task, hidden in unknown.items() if row[task] in hidden}
    with (folder / METADATA_FILE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


if __name__ == "__main__":
    typer.run(main)
