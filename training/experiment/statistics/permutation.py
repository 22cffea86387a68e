"""A permutation test of two arms: what if the name of the arm meant nothing?

What may be swapped: a training run, that is one fold of one seed. If the added pictures changed
nothing about the models that training gives, the two models of a seed and fold would be draws
from one distribution, and giving each the other's name would change nothing. Single objects may
not be swapped alone: one model answered many of them, and its luck is common to all. Whole seeds
may, but ten seeds have 1,024 patterns of signs, too few for a family of comparisons after
correction; their folds are separate trainings, paired one by one.

What is compared: the difference over its standard error with seeds and objects as in `crossed`
(the pictures that were added are the same in all seeds, so that their luck with these objects
does not average out over seeds). Studentised so, the test is exact where arms are exchangeable
and holds asymptotically where only the mean effect is nought (Janssen, Statistics and Probability
Letters 36, 1997; Chung and Romano, Annals of Statistics 41, 2013). Two-sided.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.experiment.statistics.answers import FloatArray, IntArray

_AT_ONCE = 1000
# Differences below this are rounding.
_TINY = 1e-18
_SIGNS = np.asarray([-1.0, 1.0])


def swap_test(
    contributions: FloatArray,
    folds: IntArray,
    strata: IntArray,
    *,
    swaps: int = 9999,
    seed: int = 0,
) -> float | None:
    """Two-sided p-value; None with fewer than two seeds, which leave nothing to compare with.

    Args:
        contributions: What each object adds to the difference [S, G]; see `scores.contributions`.
        folds: The fold in which each object was tested [S, G].
        strata: The class of each object [G].
        swaps: Random patterns of swapped runs beside the one observed.
        seed: Of the patterns.
    """
    seeds = len(contributions)
    if seeds < 2:
        return None
    # Objects that both arms answered alike add nothing but their number.
    moved = np.abs(contributions).max(axis=0) > 0
    sizes = np.bincount(strata, minlength=int(strata.max(initial=0)) + 1).astype(np.float64)
    runs = _runs(contributions[:, moved], folds[:, moved], int(folds.max()) + 1)
    by_class = np.zeros((int(moved.sum()), len(sizes)))
    by_class[np.arange(len(by_class)), strata[moved]] = 1.0
    rng = np.random.default_rng(seed)
    observed = float(_statistic(np.ones((1, len(runs))), runs, by_class, sizes, seeds)[0])
    beyond = 0
    for start in range(0, swaps, _AT_ONCE):
        rows = min(_AT_ONCE, swaps - start)
        signs = rng.choice(_SIGNS, size=(rows, len(runs)))
        drawn = _statistic(signs, runs, by_class, sizes, seeds)
        beyond += int((drawn >= observed * (1.0 - 1e-9)).sum())
    return (1 + beyond) / (1 + swaps)


def _runs(contributions: FloatArray, folds: IntArray, fold_count: int) -> FloatArray:
    """Contributions by training run [S * K, G]: each object in the run that tested it."""
    seeds, count = contributions.shape
    table = np.zeros((seeds, fold_count, count))
    table[np.arange(seeds)[:, None], folds, np.arange(count)] = contributions
    return table.reshape(seeds * fold_count, count)


def _statistic(
    signs: FloatArray, runs: FloatArray, by_class: FloatArray, sizes: FloatArray, seeds: int
) -> FloatArray:
    """Absolute difference over its standard error, per pattern of signs [P]."""
    patterns = len(signs)
    sums = runs @ by_class
    per_seed = (signs[:, :, None] * sums).reshape(patterns, seeds, -1, len(sizes)).sum(axis=2)
    values = per_seed.sum(axis=2)
    objects = signs @ runs
    # Variance over the objects of each class, of the sum over seeds and of single seeds; their
    # difference is what pairs of seeds have in common.
    factor = np.where(sizes > 1, sizes / np.maximum(sizes - 1.0, 1.0), 0.0)
    of_sum = (objects**2 @ by_class - (objects @ by_class) ** 2 / sizes.clip(1.0)) @ factor
    squares = (runs**2 @ by_class).sum(axis=0) @ factor
    of_seeds = squares - (per_seed**2 / sizes.clip(1.0)).sum(axis=1) @ factor
    shared = np.maximum((of_sum - of_seeds) / (seeds * (seeds - 1)), 0.0)
    variance = values.var(axis=1, ddof=1) / seeds + shared
    result: FloatArray = np.abs(values.mean(axis=1)) / np.sqrt(variance + _TINY)
    return result


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given (Holm, Scandinavian Journal of Statistics 6, 1979).

    Rejecting those below 0.05 rejects any true hypothesis of the family with at most 5 %
    probability, however the tests depend on each other.
    """
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    stepped = np.asarray(p_values, dtype=np.float64)[order] * np.arange(count, 0, -1)
    adjusted = np.empty(count)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return [float(value) for value in adjusted]
