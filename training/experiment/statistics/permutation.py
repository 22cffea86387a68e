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

How many swaps: all, where there are up to 20 runs (half of 2^20 patterns; to swap every run only
turns the sign). Where there are more, random ones, 100,000 unless said otherwise, and the observed
pattern counts as one of them (Phipson and Smyth, Statistical Applications in Genetics and Molecular
Biology 9, 2010), so that the test keeps its level and a p-value near .05 varies by .0014 at most
when drawn again (two standard errors).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from training.experiment.statistics.answers import FloatArray, IntArray

EXACT_RUNS: Final = 20
"""Up to so many training runs every pattern of swaps is tried."""

DEFAULT_SWAPS: Final = 100_000

_CHUNK: Final = 1 << 14
# Differences below this are rounding.
_TINY: Final = 1e-18
_TIE: Final = 1.0 - 1e-9


def smallest_p(runs: int, swaps: int) -> float:
    """The smallest p-value that `swap_test` can give.

    Args:
        runs: Training runs of an arm, seeds times folds.
        swaps: Random patterns, where there are too many to try all.
    """
    return 2.0 ** (1 - runs) if runs <= EXACT_RUNS else 1.0 / (1 + swaps)


def swap_test(
    contributions: FloatArray,
    folds: IntArray,
    strata: IntArray,
    *,
    swaps: int = DEFAULT_SWAPS,
    seed: int = 0,
) -> float | None:
    """Two-sided p-value; None with fewer than two seeds, which leave nothing to compare with.

    Args:
        contributions: What each object adds to the difference [S, G]; see `scoring.contributions`.
        folds: The fold in which each object was tested [S, G].
        strata: The class of each object [G].
        swaps: Random patterns of swapped runs beside the one observed, with more than 20 runs.
        seed: Of the patterns.
    """
    seeds, fold_count = len(contributions), int(folds.max(initial=0)) + 1
    if seeds < 2:
        return None
    runs = _by_run(contributions, folds, fold_count)
    totals, shared = runs.sum(axis=1), _shared_between_seeds(runs, strata, seeds)
    exact = len(runs) <= EXACT_RUNS
    patterns = _all_patterns(len(runs)) if exact else _random_patterns(len(runs), swaps, seed)
    observed = _statistic(np.ones((1, len(runs))), totals, shared, seeds)[0]
    beyond = count = 0
    for signs in patterns:
        count += len(signs)
        beyond += int((_statistic(signs, totals, shared, seeds) >= observed * _TIE).sum())
    return beyond / count if exact else (1 + beyond) / (1 + count)


def _by_run(contributions: FloatArray, folds: IntArray, fold_count: int) -> FloatArray:
    """Contributions by training run [S * K, G]: each object in the run that tested it."""
    seeds, count = contributions.shape
    table = np.zeros((seeds, fold_count, count))
    table[np.arange(seeds)[:, None], folds, np.arange(count)] = contributions
    return table.reshape(seeds * fold_count, count)


def _shared_between_seeds(runs: FloatArray, strata: IntArray, seeds: int) -> FloatArray:
    """A matrix Q [R, R] such that s'Qs is the variance through objects that the seeds share.

    The covariance of the scores of two seeds is a sum over their pairs of runs, of which a swap
    turns the signs s. Pairs within one seed are left out.
    """
    matrix = np.zeros((len(runs), len(runs)))
    for stratum in np.unique(strata):
        own = runs[:, strata == stratum]
        size = own.shape[1]
        if size > 1:
            total = own.sum(axis=1)
            matrix += (own @ own.T - np.outer(total, total) / size) * size / (size - 1)
    seed = np.arange(len(runs)) // (len(runs) // seeds)
    matrix[seed[:, None] == seed] = 0.0
    return matrix / (seeds * (seeds - 1))


def _statistic(signs: FloatArray, totals: FloatArray, shared: FloatArray, seeds: int) -> FloatArray:
    """Absolute difference over its standard error, per pattern of signs [P]."""
    values = (signs * totals).reshape(len(signs), seeds, -1).sum(axis=2)
    through_objects = np.maximum(((signs @ shared) * signs).sum(axis=1), 0.0)
    variance = values.var(axis=1, ddof=1) / seeds + through_objects
    result: FloatArray = np.abs(values.mean(axis=1)) / np.sqrt(variance + _TINY)
    return result


def _all_patterns(runs: int) -> Iterator[FloatArray]:
    """Every pattern of signs once, up to turning all of them [P, R]."""
    for start in range(0, 1 << (runs - 1), _CHUNK):
        numbers = np.arange(start, min(start + _CHUNK, 1 << (runs - 1)))
        yield 1.0 - 2.0 * (numbers[:, None] >> np.arange(runs) & 1)


def _random_patterns(runs: int, count: int, seed: int) -> Iterator[FloatArray]:
    """Random patterns of signs [P, R]."""
    rng = np.random.default_rng(seed)
    for start in range(0, count, _CHUNK):
        yield rng.choice((-1.0, 1.0), size=(min(_CHUNK, count - start), runs))


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
