"""The real pictures: what belongs together, and what each fold trains on, validates and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, count
from pathlib import Path

from porcelain.dataset import Dataset, Record
from porcelain.errors import DatasetError, UserError
from training.data.duplicates import group_pairs
from training.data.fingerprints import Fingerprint
from training.data.groups import join_groups
from training.data.partition import SUBSETS, Names, fold_records
from training.data.split import Split, read_split
from training.experiment.records import Experiment, Picture
from training.experiment.sources import EvaluationSet, Source, learned_names

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
        for one, other in combinations(SUBSETS, 2):
            if torn := sorted(groups[one] & groups[other]):
                raise DatasetError(
                    f"--splits: fold {fold} has photographs of {torn[0]} both in {one} and in "
                    f"{other}; make the folds anew with `porcelain experiment split`."
                )


def _positions(names: Names, position: dict[str, int]) -> Parts:
    train, validation, test = (
        # A picture that turned out to be unreadable is in the split and not in the experiment.
        tuple(position[name] for name in names[part] if name in position)
        for part in SUBSETS
    )
    return Parts(train, validation, test)


def describe_photographs(
    dataset: Dataset, prints: Sequence[Fingerprint]
) -> tuple[list[Picture], list[str]]:
    """The readable photographs, with copies and photographs of one object under one name.

    Args:
        dataset: Photographs.
        prints: Of each.

    Returns:
        The photographs, and the file names of those that cannot be read.

    Raises:
        DatasetError: One of them is synthetic.
    """
    marked = {item.name for item in prints if item.marked}
    for record in dataset.records:
        if record.synthetic or record.file_name in marked:
            raise DatasetError(
                f"{dataset.path(record)} is synthetic; --data must hold photographs only, because "
                "nothing else is tested."
            )
    names = [[prints[i].name for i in group] for group in group_pairs(len(prints), prints)]
    group_of: dict[int, str] = {}
    for members in join_groups(dataset.records, names):
        records = [dataset.records[i] for i in members]
        objects = [record.object_id for record in records if record.object_id is not None]
        group_of |= dict.fromkeys(members, (objects or [records[0].file_name])[0])
    pictures, unreadable = [], []
    for i, record in enumerate(dataset.records):
        if prints[i].problem is not None:
            unreadable.append(record.file_name)
            continue
        pictures.append(
            Picture(
                file_name=record.file_name,
                object_id=group_of[i],
                labels=record.labels,
                tested=True,
            )
        )
    return pictures, unreadable


def exclude_training_pictures(
    pictures: Sequence[Picture], sources: Sequence[Source], digests: Mapping[str, str]
) -> list[Picture]:
    """Take what any folder has learned from, and all of its object, out of what is tested.

    Args:
        pictures: The photographs.
        sources: Folders that serve every fold.
        digests: SHA-256 of each photograph, by file name.

    Raises:
        UserError: A folder was made for one fold of folds that nobody named.
    """
    single = next((source for source in sources if source.fold is not None), None)
    if single is not None:
        raise UserError(
            f"{single.root} is for one fold, but folds are drawn anew for every seed; give the "
            "folds that it was made for with --splits."
        )
    learned: set[str] = set()
    for source in sources:
        learned |= learned_names(source, digests)
    groups = {picture.object_id for picture in pictures if picture.file_name in learned}
    return [
        picture.model_copy(update={"tested": picture.object_id not in groups})
        for picture in pictures
    ]


def evaluation_sets(
    pictures: Sequence[Picture], splits: Sequence[Split]
) -> dict[int | None, EvaluationSet]:
    """What folders must not have met: per fold with fixed splits, and over all folds (None)."""
    if not splits:
        tested = frozenset(picture.file_name for picture in pictures if picture.tested)
        return {None: EvaluationSet(tested, tested)}
    folds = [
        EvaluationSet(frozenset(split.names["validation"]), frozenset(split.names["test"]))
        for split in splits
    ]
    every = EvaluationSet(
        frozenset().union(*(fold.validation for fold in folds)),
        frozenset().union(*(fold.test for fold in folds)),
    )
    return {None: every, **dict(enumerate(folds))}
