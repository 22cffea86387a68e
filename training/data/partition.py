"""Which rows go to training, validation and test, decided from labels and groups alone.

Photographs of one object and copies of one picture never straddle two parts, and a synthetic
picture is only ever in the training part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from porcelain.dataset import Record
from porcelain.errors import UserError
from porcelain.vocabulary import TASKS
from training.data.groups import join_groups
from training.data.stratification import (
    Counts,
    Wanted,
    favour_rare,
    refine,
    stratify,
    wanted_counts,
)

SUBSETS: Final = ("train", "validation", "test")

Fractions = tuple[float, float, float]
Groups = Iterable[Iterable[str]]
Names = dict[str, tuple[str, ...]]

_TRAIN, _VALIDATION, _TEST = range(3)
# How many groups must carry a label before the part asks for one of them.
_LEAST_GROUPS = ((_TEST, 2), (_VALIDATION, 4))


def split_records(
    records: Sequence[Record], fractions: Fractions, seed: int, groups: Groups = ()
) -> Names:
    """File names per part, grouped and stratified over the four tasks at once.

    Every label has a picture in the training part; one that at least two groups carry is also
    asked for in the test part, and one that four carry in the validation part.

    Args:
        records: The rows; synthetic ones go to the training part, with all of their group.
        fractions: Shares of the real pictures, in the order of `SUBSETS`; they add to 1.
        seed: Equal arguments give an equal split.
        groups: File names that must stay together, beside those that share an `object_id`.

    Raises:
        UserError: The fractions are not shares of one, or leave nothing for training.
    """
    _check_fractions(fractions)
    members = join_groups(records, groups)
    bound, free = _bound_and_free(records, members)
    counts, sizes = _tables(records, members)
    share = np.asarray(fractions, dtype=np.float64)
    priority = [(subset, least) for subset, least in _LEAST_GROUPS if fractions[subset] > 0]
    wanted = favour_rare(wanted_counts(counts, share), counts, priority)
    wanted_sizes = share * sizes.sum()
    # Real pictures bound to a synthetic one are in the training part already.
    wanted[_TRAIN] -= counts[bound].sum(axis=0)
    wanted_sizes[_TRAIN] -= sizes[bound].sum()
    placed = np.full(len(members), _TRAIN, dtype=np.int64)
    rng = np.random.default_rng(seed)
    placed[free] = _place(counts[free], sizes[free], wanted, wanted_sizes, rng)
    _teach_every_label(placed, counts, sizes)
    return _names(records, members, placed)


def fold_records(
    records: Sequence[Record], folds: int, seed: int, groups: Groups = (), validation: float = 0.1
) -> list[Names]:
    """File names per part for each fold of a grouped, stratified k-fold cross-validation.

    Args:
        records: The rows; synthetic ones are in every fold's training part.
        folds: How many; every free real picture is tested in exactly one of them.
        seed: Equal arguments give equal folds.
        groups: As for `split_records`.
        validation: Share of the real pictures, outside the tested fold, kept for validation.

    Raises:
        UserError: Fewer than two folds, more folds than objects, or no room for training.
    """
    if folds < 2 or not 0 <= validation < 1 - 1 / folds:
        raise UserError("Give at least 2 folds, and a validation share that leaves some to train.")
    members = join_groups(records, groups)
    _, free = _bound_and_free(records, members)
    if len(free) < folds:
        raise UserError(f"{folds} folds need as many objects; the dataset has {len(free)}.")
    counts, sizes = _tables(records, members)
    rng = np.random.default_rng(seed)
    share = np.full(folds, 1 / folds)
    wanted = wanted_counts(counts[free], share)
    fold_of = np.full(len(members), -1, dtype=np.int64)
    fold_of[free] = _place(counts[free], sizes[free], wanted, share * sizes[free].sum(), rng)
    held_out = validation * folds / (folds - 1)
    rest = np.asarray([1 - held_out, held_out])
    result = []
    for fold in range(folds):
        others = np.flatnonzero((fold_of >= 0) & (fold_of != fold))
        wanted = wanted_counts(counts[others], rest)
        placed = np.where(fold_of == fold, _TEST, _TRAIN)
        wanted_sizes = rest * sizes[others].sum()
        placed[others] = _place(counts[others], sizes[others], wanted, wanted_sizes, rng)
        result.append(_names(records, members, placed))
    return result


def _place(
    counts: Counts, sizes: Counts, wanted: Wanted, wanted_sizes: Wanted, rng: np.random.Generator
) -> Counts:
    placed = stratify(counts, sizes, wanted, wanted_sizes, rng)
    return refine(placed, counts, sizes, wanted, wanted_sizes)


def _check_fractions(fractions: Fractions) -> None:
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise UserError(
            f"The shares {', '.join(f'{f:g}' for f in fractions)} of train, validation and test "
            "must be three numbers from 0 to 1 that add to 1."
        )
    if fractions[_TRAIN] <= 0:
        raise UserError("The training part needs a share above 0.")


def _bound_and_free(
    records: Sequence[Record], members: list[list[int]]
) -> tuple[list[int], list[int]]:
    """Groups with a synthetic picture, which must be trained on, and the others."""
    bound = {i for i, group in enumerate(members) if any(records[j].synthetic for j in group)}
    return sorted(bound), [i for i in range(len(members)) if i not in bound]


def _tables(records: Sequence[Record], members: list[list[int]]) -> tuple[Counts, Counts]:
    """Real pictures per group and label [G, L], and per group [G]."""
    labels = sorted({(t, label) for r in records for t in TASKS if (label := r.labels[t])})
    column = {label: i for i, label in enumerate(labels)}
    counts = np.zeros((len(members), len(labels)), dtype=np.int64)
    sizes = np.zeros(len(members), dtype=np.int64)
    for row, group in enumerate(members):
        for record in (records[i] for i in group if not records[i].synthetic):
            sizes[row] += 1
            for task in TASKS:
                if label := record.labels[task]:
                    counts[row, column[task, label]] += 1
    return counts, sizes


def _teach_every_label(placed: Counts, counts: Counts, sizes: Counts) -> None:
    """Move a group into the training part for every label that is not there yet."""
    for label in range(counts.shape[1]):
        carriers = np.flatnonzero(counts[:, label])
        if len(carriers) and not (placed[carriers] == _TRAIN).any():
            placed[carriers[np.argmin(sizes[carriers])]] = _TRAIN


def _names(records: Sequence[Record], members: list[list[int]], placed: Counts) -> Names:
    part = {i: int(placed[row]) for row, group in enumerate(members) for i in group}
    return {
        subset: tuple(r.file_name for i, r in enumerate(records) if part[i] == number)
        for number, subset in enumerate(SUBSETS)
    }
