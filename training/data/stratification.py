"""Iterative stratification of groups over many labels at once.

Source: Sechidis, Tsoumakas, Vlahavas, "On the Stratification of Multi-Label Data", ECML PKDD 2011,
algorithm 1. There an example is placed at a time, here a whole group (the photographs of one
object), and a label is counted in pictures.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Wanted = npt.NDArray[np.float64]

_SIZE_WEIGHT = 4.0


def stratify(
    counts: Counts, sizes: Counts, wanted: Wanted, wanted_sizes: Wanted, rng: np.random.Generator
) -> Counts:
    """Place each group in one subset, so that every label comes near its wanted counts.

    The label with the fewest pictures left is served first, because it is the one that a wrong
    placement harms most. Each of its groups, largest first, goes to the subset that still wants
    most of that label; ties go to the subset that wants most pictures, then to chance.

    Args:
        counts: Pictures per group and label, [G, L].
        sizes: Pictures per group, [G].
        wanted: Pictures that each subset should hold of each label, [S, L].
        wanted_sizes: Pictures that each subset should hold, [S].
        rng: Decides the order among equal groups, and ties.

    Returns:
        The subset's index per group, [G].
    """
    wanted, wanted_sizes = wanted.astype(np.float64), wanted_sizes.astype(np.float64)
    placed = np.full(len(counts), -1, dtype=np.int64)
    order = rng.permutation(len(counts))
    while True:
        left = order[placed[order] < 0]
        remaining = counts[left].sum(axis=0)
        if not remaining.any():
            break
        label = int(np.argmin(np.where(remaining > 0, remaining, np.iinfo(np.int64).max)))
        carriers = left[counts[left, label] > 0]
        for group in carriers[np.argsort(-counts[carriers, label], kind="stable")]:
            subset = _neediest(wanted[:, label], wanted_sizes, rng)
            placed[group] = subset
            wanted[subset] -= counts[group]
            wanted_sizes[subset] -= sizes[group]
    unlabelled = order[placed[order] < 0]
    for group in unlabelled[np.argsort(-sizes[unlabelled], kind="stable")]:
        subset = _neediest(wanted_sizes, wanted_sizes, rng)
        placed[group] = subset
        wanted_sizes[subset] -= sizes[group]
    return placed


def refine(
    placed: Counts, counts: Counts, sizes: Counts, wanted: Wanted, wanted_sizes: Wanted
) -> Counts:
    """Move single groups between subsets while that brings the counts nearer to what is wanted.

    The greedy placement serves rare labels first and leaves what they cost to the sizes of the
    subsets. Nearness is the squared difference per label over the label's pictures, so that a rare
    label's picture weighs more; the sizes count as much as `_SIZE_WEIGHT` labels that all carry.

    Args:
        placed: The subset's index per group, [G].
        counts: Pictures per group and label, [G, L].
        sizes: Pictures per group, [G].
        wanted: Pictures that each subset should hold of each label, [S, L].
        wanted_sizes: Pictures that each subset should hold, [S].

    Returns:
        The improved subset's index per group, [G].
    """
    placed = placed.copy()
    table = np.column_stack([counts, sizes]).astype(np.float64)
    weight = 1 / np.maximum(table.sum(axis=0), 1.0)
    weight[-1] *= _SIZE_WEIGHT
    excess = -np.column_stack([wanted, wanted_sizes])
    np.add.at(excess, placed, table)
    weighted = table * weight
    own_cost = (table * weighted).sum(axis=1)
    groups = np.arange(len(placed))
    while len(placed):
        pressure = weighted @ excess.T
        change = own_cost[:, None] + pressure - pressure[groups, placed][:, None]
        change[groups, placed] = 0.0
        group, subset = np.unravel_index(int(np.argmin(change)), change.shape)
        if change[group, subset] > -1e-9:
            break
        excess[placed[group]] -= table[group]
        excess[subset] += table[group]
        placed[group] = subset
    return placed


def wanted_counts(counts: Counts, fractions: Wanted) -> Wanted:
    """Pictures that each subset should hold of each label in proportion, [S, L]."""
    return np.outer(fractions, counts.sum(axis=0))


def favour_rare(wanted: Wanted, counts: Counts, priority: list[tuple[int, int]]) -> Wanted:
    """Raise what small subsets want of rare labels to one picture, at subset 0's cost.

    In proportion, a test subset of 10 % would want 0.3 of a label with three pictures and get
    none, and the label would go unmeasured.

    Args:
        wanted: As from `wanted_counts`; subset 0 is the training part.
        counts: Pictures per group and label, [G, L].
        priority: Pairs of a subset and the least number of groups that must carry a label before
            that subset asks for one of them.

    Returns:
        The adjusted counts, [S, L].
    """
    result = wanted.copy()
    carriers = (counts > 0).sum(axis=0)
    for subset, least in priority:
        raised = np.where(carriers >= least, np.maximum(result[subset], 1.0), result[subset])
        result[0] -= raised - result[subset]
        result[subset] = raised
    return result


def _neediest(first: Wanted, second: Wanted, rng: np.random.Generator) -> int:
    best = np.flatnonzero(first >= first.max() - 1e-9)
    if len(best) > 1:
        best = best[second[best] >= second[best].max() - 1e-9]
    return int(best[0] if len(best) == 1 else rng.choice(best))
