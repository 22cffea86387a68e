"""The real pictures of an experiment: which belong together, and which may be tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from porcelain.dataset import Dataset
from porcelain.errors import DatasetError, UserError
from training.data.duplicates import group_pairs
from training.data.fingerprints import Fingerprint
from training.data.groups import join_groups
from training.data.split import Split
from training.experiment.records import Picture
from training.experiment.sources import Judged, Source, learned_names


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


def keep_learned(
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


def judged_by(pictures: Sequence[Picture], splits: Sequence[Split]) -> dict[int | None, Judged]:
    """What folders must not have met: per fold with fixed splits, and over all folds (None)."""
    if not splits:
        tested = frozenset(picture.file_name for picture in pictures if picture.tested)
        return {None: Judged(tested, tested)}
    folds = [
        Judged(frozenset(split.names["validation"]), frozenset(split.names["test"]))
        for split in splits
    ]
    every = Judged(
        frozenset().union(*(fold.validation for fold in folds)),
        frozenset().union(*(fold.test for fold in folds)),
    )
    return {None: every, **dict(enumerate(folds))}
