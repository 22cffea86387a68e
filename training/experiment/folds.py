"""Which real pictures are trained on, validated on and tested in each fold of each seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from porcelain.dataset import Record
from porcelain.errors import DatasetError
from training.data.partition import SUBSETS, Names, fold_records
from training.data.split import read_split
from training.experiment.records import Experiment, Picture

SPLITS_FOLDER = "splits"


@dataclass(frozen=True)
class Parts:
    """Positions of pictures in `Experiment.pictures`, per part of one fold."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


def folds_of(experiment: Experiment, seed: int, root: Path) -> list[Parts]:
    """The folds of one seed: its own assignment, or the one fixed in the experiment's folder.

    A function of the experiment and the seed alone, so that every process finds the same.

    Args:
        experiment: The pictures.
        seed: The repetition.
        root: The experiment's folder, for fixed splits.
    """
    if experiment.design.get("fixed_splits"):
        parts = [read_split(split_file(root, fold)).names for fold in range(experiment.folds)]
    else:
        share = validation_share(experiment)
        records = as_records(experiment.pictures)
        parts = fold_records(records, experiment.folds, seed, validation=share)
    position = {picture.file_name: i for i, picture in enumerate(experiment.pictures)}
    return [_positions(names, position) for names in parts]


def validation_share(experiment: Experiment) -> float:
    """Share of the pictures that may be judged by which each fold validates on.

    As many as asked for of all photographs, unless so many must be trained on that this would
    leave less than two thirds of what a fold does not test to train on.
    """
    free = sum(picture.tested for picture in experiment.pictures)
    asked = float(experiment.design["validation"]) * len(experiment.pictures) / max(1, free)
    return min(asked, (1 - 1 / experiment.folds) / 3)


def as_records(pictures: Sequence[Picture]) -> list[Record]:
    """Rows for the splitter. What must always be trained on is bound as a synthetic row is."""
    return [
        Record(picture.file_name, picture.labels, picture.object_id, not picture.tested)
        for picture in pictures
    ]


def split_file(folder: Path, fold: int) -> Path:
    """Where a fixed fold's `split.json` is."""
    return folder / SPLITS_FOLDER / fold_name(fold)


def fold_name(fold: int) -> str:
    """The name of a fold's `split.json` among those of the other folds."""
    return f"fold-{fold}.json"


def count_folds(folder: Path | None) -> int | None:
    """How many fixed folds a folder holds; None where there is no folder, or not one fold in it."""
    if folder is None:
        return None
    return next(fold for fold in count() if not (folder / fold_name(fold)).is_file()) or None


def check_fixed(splits: Sequence[Names], pictures: Sequence[Picture]) -> None:
    """Refuse fixed folds that are no cross-validation of these pictures.

    Raises:
        DatasetError: A picture is absent, tested twice, or parted from its object.
    """
    group = {picture.file_name: picture.object_id for picture in pictures}
    tested: set[str] = set()
    for fold, names in enumerate(splits):
        parted = {name for part in SUBSETS for name in names[part]}
        if absent := sorted(group.keys() - parted):
            raise DatasetError(
                f"--splits: fold {fold} says nothing of {len(absent)} picture(s), first "
                f"{absent[0]}; make the folds anew with `porcelain experiment split`."
            )
        if twice := sorted(tested & set(names["test"])):
            raise DatasetError(f"--splits: {twice[0]} is tested in two folds.")
        tested |= set(names["test"])
        groups = {part: {group[n] for n in names[part] if n in group} for part in SUBSETS}
        if torn := sorted(groups["train"] & (groups["validation"] | groups["test"])):
            raise DatasetError(
                f"--splits: fold {fold} trains on photographs of {torn[0]} and is judged by others "
                "of it."
            )


def _positions(names: Names, position: dict[str, int]) -> Parts:
    train, validation, test = (
        # A picture that turned out to be unreadable is in the split and not in the experiment.
        tuple(position[name] for name in names[part] if name in position)
        for part in SUBSETS
    )
    return Parts(train, validation, test)
