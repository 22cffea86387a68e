r"""Which score tells porcelain from other things? Methods side by side on one bundle's features.

The bundle's test pictures against things that `benchmarks.other_things` renders and draws, and
against the pictures in a folder given with `--others`, whose folders are kinds. A model trained on
photographs might only tell photographs from renderings: the control, rendered porcelain, says so.
A model trained on rendered pictures is judged in its own world.

    python -m benchmarks.in_domain --bundle DIR --data DIR [--others DIR]
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table
from safetensors.numpy import load_file
from sklearn.metrics import roc_auc_score

from benchmarks import other_things
from benchmarks.domain_scores import USED, FloatArray, Head, Score, features_of, scores
from porcelain.bundle import CLASSIFIER_MODEL_FILE, Bundle, load_bundle
from porcelain.dataset import load_dataset
from porcelain.domain import choose_threshold
from porcelain.predictor import Outputs, Predictor
from porcelain.preparation import prepare
from training.classifier.evaluation.inference import answer
from training.classifier.evaluation.selection import Subset, select

TARGET = 0.95
RESAMPLES = 1000
CONTROL = "rendered porcelain (control)"


class Judge:
    """A bundle that scores pictures."""

    def __init__(self, bundle: Bundle, data: Path) -> None:
        self.predictor = Predictor(bundle, graph=bundle.measured_graph)
        self._bundle, self._dataset = bundle, load_dataset(data)

    def paths(self, part: Subset) -> list[Path]:
        """The pictures of one part of its own data."""
        records = select(self._dataset, self._bundle, part).records
        return [self._dataset.path(record) for record in records]

    def own(self, part: Subset) -> Outputs:
        """Its outputs for one part of its own data."""
        answers = answer(self.predictor, self.paths(part), features=True)
        return Outputs(answers.probabilities, answers.features)

    def others(self, pictures: Iterable[Image.Image]) -> Outputs:
        """Its outputs for other pictures."""
        info = self.predictor.info
        pixels = [prepare(one, info.input_size, info.resize) for one in pictures]
        return self.predictor.run(np.stack(pixels), features=True)

    def methods(self) -> dict[str, Score]:
        """Every score, fitted to its training pictures."""
        records = select(self._dataset, self._bundle, "train").records
        task = next(reversed(self.predictor.info.labels))
        names = {name: i for i, name in enumerate(self.predictor.info.labels[task])}
        labels = np.array([names.get(record.labels[task] or "", -1) for record in records])
        return scores(features_of(self.own("train")), labels, self._heads())

    def _heads(self) -> dict[str, Head]:
        """The served graph's linear layers; a held-out graph's are not in the bundle."""
        if self._bundle.measured_graph != CLASSIFIER_MODEL_FILE:
            return {}
        weights = load_file(self._bundle.path / "model.safetensors")
        return {
            task: (weights[f"heads.{i}.weight"], weights[f"heads.{i}.bias"])
            for i, task in enumerate(self.predictor.tasks)
        }


def kinds(judge: Judge, folder: Path | None, count: int, seed: int) -> dict[str, Outputs]:
    """The model's outputs for every kind of other thing."""
    found: dict[str, Outputs] = {}
    for kind, make in other_things.MADE.items():
        found[f"made: {kind}"] = judge.others(other_things.made(make, count, seed))
    rng = np.random.default_rng(seed)
    own = (Image.open(path).convert("RGB") for path in judge.paths("test")[:count])
    found["made: drawn test pictures"] = judge.others(other_things.drawn(p, rng) for p in own)
    pictures: dict[str, list[Image.Image]] = {}
    for kind, picture in other_things.found(folder) if folder else ():
        pictures.setdefault(kind, []).append(picture)
    found |= {f"found: {kind}": judge.others(several) for kind, several in pictures.items()}
    return found


def main(
    bundle: Annotated[Path, typer.Option(help="Classifier bundle.")],
    data: Annotated[Path, typer.Option(help="The dataset folder it was trained on.")],
    others: Annotated[
        Path | None, typer.Option(help="Folder of pictures of other things; its folders are kinds.")
    ] = None,
    count: Annotated[int, typer.Option(min=2, help="Made pictures of each kind.")] = 60,
    seed: Annotated[int, typer.Option(help="Of the made pictures.")] = 0,
) -> None:
    """Print AUROC per method and kind of thing, and what the bundle's threshold lets through."""
    judge = Judge(load_bundle(bundle, "classifier"), data)
    methods = judge.methods()
    test, validation = judge.own("test"), judge.own("validation")
    foreign = kinds(judge, others, count, seed)
    control = judge.others(other_things.made(other_things.porcelain, count, seed))
    threshold = choose_threshold(methods[USED](validation))
    table = Table(
        "kind", *methods, "recognised", title=f"AUROC against {_count(test)} test pictures"
    )
    groups = {kind: [outputs] for kind, outputs in foreign.items()}
    for group in ("made", "found"):
        members = [outputs for kind, outputs in foreign.items() if kind.startswith(group)]
        groups |= {f"all {group}": members} if members else {}
    groups |= {"all": [*foreign.values()], CONTROL: [control]}
    for name, members in groups.items():
        cells = []
        for method in methods.values():
            value = _auroc(method(test), _joined(method, members))
            cells.append(f"{'' if value >= TARGET else '[red]'}{value:.3f}")
        refused = np.mean(_joined(methods[USED], members) < threshold)
        count_of = sum(map(_count, members))
        table.add_row(f"{name} ({count_of})", *cells, f"{refused:.0%}", end_section=name == "all")
    console = Console(width=190)
    console.print(table)
    inside, outside = methods[USED](test), _joined(methods[USED], [*foreign.values()])
    low, high = _interval(inside, outside, seed)
    console.print(
        f"{USED}: AUROC {_auroc(inside, outside):.4f} ({low:.4f} to {high:.4f}). At validation's "
        f"threshold {threshold:.3f}, {np.mean(inside >= threshold):.1%} of the test pictures are "
        f"in the domain and {np.mean(outside < threshold):.1%} of the other things are not."
    )


def _count(outputs: Outputs) -> int:
    return len(features_of(outputs))


def _joined(method: Score, members: list[Outputs]) -> FloatArray:
    return np.concatenate([method(outputs) for outputs in members])


def _auroc(inside: FloatArray, outside: FloatArray) -> float:
    truth = np.r_[np.ones(len(inside)), np.zeros(len(outside))]
    return float(roc_auc_score(truth, np.r_[inside, outside]))


def _interval(inside: FloatArray, outside: FloatArray, seed: int) -> tuple[float, float]:
    """95 %, by bootstrap over the pictures."""
    rng = np.random.default_rng(seed)
    draws = [
        _auroc(rng.choice(inside, len(inside)), rng.choice(outside, len(outside)))
        for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


if __name__ == "__main__":
    typer.run(main)
