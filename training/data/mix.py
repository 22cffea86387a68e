"""A dataset of real photographs with a measured share of synthetic ones, in training only."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from porcelain.bundle import SPLIT_FILE
from porcelain.dataset import Dataset, Record, load_dataset, write_metadata
from porcelain.errors import DatasetError, UserError
from porcelain.files import atomic_folder, check_free, write_text
from porcelain.synthetic_mark import is_marked_synthetic
from porcelain.vocabulary import TASKS, TAXONOMY_FILE
from training.data.allotment import allot, draw, group_by_kind
from training.data.duplicates import find_duplicates, join_pairs
from training.data.fingerprints import fingerprint_dataset
from training.data.ratio import Ratio, Rule
from training.data.split import Split, split_or_make, write_split

SYNTHETIC_FOLDER: Final = "synthetic"
"""Where in the mixed folder the synthetic pictures lie."""

REPORT_FILE: Final = "mix.json"


class ClassChange(BaseModel):
    """One class's training pictures: real ones, and synthetic ones added."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    real: int
    added: int


class MixReport(BaseModel):
    """What a mix holds; saved as `mix.json` in the folder.

    Attributes:
        ratio: As asked for, real:synthetic.
        rule: Which kinds received synthetic pictures.
        tasks: The tasks by whose labels kinds were told apart and rarity measured.
        seed: What the pictures were drawn with.
        real_train: Real pictures in the training part.
        synthetic_train: Synthetic pictures in it.
        synthetic_share: synthetic_train / (real_train + synthetic_train).
        validation: Pictures in the validation part, all real.
        test: Pictures in the test part, all real.
        classes: Training pictures per task and label.
        left_out: Synthetic pictures that could not be used, by reason.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ratio: str
    rule: Rule
    tasks: list[str]
    seed: int
    real_train: int
    synthetic_train: int
    synthetic_share: float
    validation: int
    test: int
    classes: dict[str, dict[str, ClassChange]]
    left_out: dict[str, list[str]]


def mix_datasets(
    real: Path,
    synthetic: Path,
    out: Path,
    ratio: str,
    rule: Rule = Rule.RARITY,
    tasks: Sequence[str] = TASKS,
    split: Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> MixReport:
    """Write a dataset folder of all real pictures and a share of synthetic ones.

    95:5 makes 5 % of the training part synthetic: synthetic / (real in training + synthetic), to
    the nearest picture. Validation and test stay as they are, real.

    Args:
        real: Dataset folder of photographs.
        synthetic: Dataset folder of generated pictures; every one counts as synthetic.
        out: Folder to write.
        ratio: real:synthetic, such as `95:5`.
        rule: Which kinds receive the synthetic pictures.
        tasks: Tasks by whose labels kinds are told apart and rarity is measured.
        split: Split of the real folder; None takes the one in it, or makes one with `seed`.
        seed: Decides which pictures of a kind are drawn.
        overwrite: Replace a folder that is already at `out`.
        on_progress: Called with the pictures compared so far and their total.

    Raises:
        UserError: A bad ratio or task, too few synthetic pictures, or `out` is taken.
        DatasetError: A bad folder; synthetic pictures in the real one; labels that the real one
            does not know; a synthetic picture that copies one of validation or test.
    """
    parsed = Ratio.parse(ratio)
    _check_tasks(tasks)
    check_free(out, overwrite, (real, synthetic))
    photographs, generated = load_dataset(real), load_dataset(synthetic)
    _check_real(photographs)
    check_labels(photographs, generated)
    parts = split_or_make(photographs, split, seed)
    usable, left_out = _usable(photographs, generated, parts, on_progress)
    real_train = [r for r in photographs.records if r.file_name in frozenset(parts.names["train"])]
    wanted = parsed.synthetic_count(len(real_train))
    if wanted > len(usable):
        set_aside = sum(len(names) for names in left_out.values())
        raise UserError(
            f"A ratio of {ratio} to {len(real_train)} real training pictures needs {wanted} "
            f"synthetic ones; {synthetic} has {len(usable)} usable"
            + (f" ({set_aside} left out as copies or unreadable)" if set_aside else "")
            + "; synthesise more or choose a smaller share."
        )
    available = {kind: len(members) for kind, members in group_by_kind(usable, tasks).items()}
    train = Dataset(real, tuple(real_train))
    taken = allot(wanted, rule, available, [train.counts(task) for task in tasks])
    chosen = draw(usable, tasks, taken, seed)
    report = MixReport(
        ratio=ratio,
        rule=rule,
        tasks=list(tasks),
        seed=seed,
        real_train=len(real_train),
        synthetic_train=len(chosen),
        synthetic_share=len(chosen) / (len(real_train) + len(chosen)),
        validation=len(parts.names["validation"]),
        test=len(parts.names["test"]),
        classes=_classes(train, Dataset(synthetic, tuple(chosen))),
        left_out=left_out,
    )
    with atomic_folder(out, overwrite=overwrite) as folder:
        _write(folder, photographs, Dataset(synthetic, tuple(chosen)), parts, report)
    return report


def _check_tasks(tasks: Sequence[str]) -> None:
    unknown = [task for task in tasks if task not in TASKS]
    if unknown or not tasks or len(set(tasks)) < len(tasks):
        raise UserError(
            f"The tasks {', '.join(tasks) or '(none)'} must be one or more of {', '.join(TASKS)}, "
            "each once."
        )


def _check_real(dataset: Dataset) -> None:
    for record in dataset.records:
        if record.synthetic or is_marked_synthetic(dataset.path(record)):
            raise DatasetError(
                f"{dataset.path(record)} is synthetic; --real must be a folder of photographs only."
            )
        if record.file_name.split("/")[0] == SYNTHETIC_FOLDER:
            raise DatasetError(
                f"{dataset.root} keeps pictures in a folder named {SYNTHETIC_FOLDER}, where the "
                "mix puts generated ones; rename it."
            )


def check_labels(real: Dataset, synthetic: Dataset) -> None:
    """Refuse added pictures whose labels no photograph has.

    Raises:
        DatasetError: There are such labels; they are named.
    """
    for task in TASKS:
        unknown = sorted(synthetic.counts(task).keys() - real.counts(task).keys())
        if unknown:
            raise DatasetError(
                f"{synthetic.root} has the {task} label(s) {', '.join(unknown)}, which no picture "
                f"of {real.root} has; correct them or delete their rows."
            )


def _usable(
    real: Dataset,
    synthetic: Dataset,
    split: Split,
    on_progress: Callable[[int, int], None] | None,
) -> tuple[list[Record], dict[str, list[str]]]:
    """The synthetic records that read well and copy nothing, and why the others were left out."""
    total = len(real) + len(synthetic)

    def compared(before: int) -> Callable[[int], None] | None:
        return None if on_progress is None else lambda done: on_progress(before + done, total)

    prints = fingerprint_dataset(real, on_progress=compared(0))
    prints += fingerprint_dataset(synthetic, on_progress=compared(len(real)))
    part_of = split.subset_by_name()
    unusable: dict[int, str] = {}
    for i in range(len(real), total):
        if prints[i].problem is not None:
            unusable[i] = "unreadable"
    for group in join_pairs(total, find_duplicates(prints)):
        originals = [i for i in group if i < len(real)]
        copies = [i for i in group if i >= len(real)]
        for original in originals:
            part = part_of[prints[original].name]
            if copies and part != "train":
                raise DatasetError(
                    f"{synthetic.root / prints[copies[0]].name} copies "
                    f"{real.root / prints[original].name}, which is in {part}: training on it "
                    "would leak the answer. Delete it, and train the generator on the training "
                    "part only."
                )
        for copy in copies if originals else copies[1:]:
            unusable[copy] = "copy_of_training_picture" if originals else "copy_of_synthetic"
    left_out: dict[str, list[str]] = {}
    for i, reason in sorted(unusable.items()):
        left_out.setdefault(reason, []).append(prints[i].name)
    kept = [r for i, r in enumerate(synthetic.records) if i + len(real) not in unusable]
    return kept, left_out


def _classes(real: Dataset, added: Dataset) -> dict[str, dict[str, ClassChange]]:
    classes = {}
    for task in TASKS:
        before, more = real.counts(task), added.counts(task)
        order = sorted(before | more, key=lambda label: (before[label], label))
        classes[task] = {
            label: ClassChange(real=before[label], added=more[label]) for label in order
        }
    return classes


def _write(
    folder: Path, real: Dataset, synthetic: Dataset, split: Split, report: MixReport
) -> None:
    added = []
    for record in synthetic.records:
        name = f"{SYNTHETIC_FOLDER}/{record.file_name}"
        _place(synthetic.path(record), folder / name)
        added.append(replace(record, file_name=name, synthetic=True))
    for record in real.records:
        _place(real.path(record), folder / record.file_name)
    if (real.root / TAXONOMY_FILE).is_file():
        shutil.copyfile(real.root / TAXONOMY_FILE, folder / TAXONOMY_FILE)
    write_metadata(folder, [*real.records, *added])
    mixed = load_dataset(folder)
    train = (*split.names["train"], *(record.file_name for record in added))
    names = {**split.names, "train": train}
    write_split(folder / SPLIT_FILE, replace(split, names=names, dataset_digest=mixed.digest()))
    write_text(folder / REPORT_FILE, report.model_dump_json(indent=2) + "\n")


def _place(source: Path, target: Path) -> None:
    """Put a picture into the folder as a hard link, or as a copy across file systems."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
