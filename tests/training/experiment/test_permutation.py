from itertools import product

import numpy as np
import pytest

from training.experiment.statistics.permutation import EXACT_RUNS, holm, smallest_p, swap_test

SEEDS, FOLDS, OBJECTS = 5, 5, 60
STRATA = np.repeat([0, 1, 2], [3, 17, 40])


def null(rng, shift=0.0, luck=1.0):
    """Contributions whose sign means nothing: a common one per run, and noise."""
    folds = np.stack([rng.permutation(np.arange(OBJECTS) % FOLDS) for _ in range(SEEDS)])
    run = rng.normal(0, 0.5, (SEEDS, FOLDS))
    parts = rng.normal(0, luck, (SEEDS, OBJECTS)) * (rng.random((SEEDS, OBJECTS)) < 0.2)
    return parts + run[np.arange(SEEDS)[:, None], folds] * 0.3 + shift, folds


def test_p_is_uniform_where_arms_are_exchangeable():
    rng = np.random.default_rng(0)
    values = []
    for i in range(400):
        parts, folds = null(rng)
        values.append(swap_test(parts, folds, STRATA, swaps=199, seed=i))
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(values) <= level) == pytest.approx(level, abs=0.055)


def studentised(parts, strata):
    """The statistic said plainly: a difference over its standard error with seeds and objects."""
    seeds = len(parts)
    variance = parts.sum(axis=1).var(ddof=1) / seeds
    for stratum in np.unique(strata):
        own = parts[:, strata == stratum]
        if (size := own.shape[1]) > 1:
            shared = np.cov(own, ddof=1) * size
            variance += (shared.sum() - np.trace(shared)) / (seeds * (seeds - 1))
    without = parts.sum(axis=1).var(ddof=1) / seeds
    return abs(parts.sum(axis=1).mean()) / max(variance, without) ** 0.5


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_with_few_runs_every_pattern_of_swaps_is_counted_once(shift):
    rng = np.random.default_rng(5)
    seeds, folds = 3, 3
    where = np.stack([rng.permutation(np.arange(OBJECTS) % folds) for _ in range(seeds)])
    parts = rng.normal(shift, 1.0, (seeds, OBJECTS))
    observed, beyond = studentised(parts, STRATA), 0
    for signs in product((-1.0, 1.0), repeat=seeds * folds):
        runs = np.reshape(signs, (seeds, folds))
        swapped = parts * runs[np.arange(seeds)[:, None], where]
        beyond += studentised(swapped, STRATA) >= observed * (1 - 1e-9)
    exact = beyond / 2 ** (seeds * folds)
    assert swap_test(parts, where, STRATA, seed=1) == pytest.approx(exact)
    assert swap_test(parts, where, STRATA, seed=2, swaps=99) == pytest.approx(exact)
    assert smallest_p(seeds * folds, 99) == 2 / 2 ** (seeds * folds)


def test_up_to_twenty_runs_leave_nothing_to_luck_and_more_leave_little():
    assert EXACT_RUNS == 20
    rng = np.random.default_rng(6)
    parts, folds = null(rng, shift=0.08)
    few = np.minimum(folds, 3)
    assert swap_test(parts, few, STRATA, seed=1) == swap_test(parts, few, STRATA, seed=2)
    values = [swap_test(parts, folds, STRATA, seed=i) for i in range(4)]
    assert len(set(values)) > 1
    assert max(values) - min(values) < 0.006
    assert min(values) >= smallest_p(25, 100_000) == 1 / 100_001


def test_an_effect_in_every_seed_is_found():
    parts, folds = null(np.random.default_rng(1), shift=0.5)
    assert swap_test(parts, folds, STRATA, swaps=999) <= 0.002


def test_one_lucky_seed_is_not_an_effect():
    rng = np.random.default_rng(2)
    parts, folds = null(rng, luck=0.1)
    parts[0] += 3.0
    assert parts.sum() > 100
    assert swap_test(parts, folds, STRATA, swaps=999) > 0.2


def test_the_test_is_two_sided():
    parts, folds = null(np.random.default_rng(3), shift=0.1)
    assert swap_test(parts, folds, STRATA) == swap_test(-parts, folds, STRATA)


def test_effects_of_single_objects_that_all_seeds_share_are_not_mistaken_for_many():
    """The same pictures were added in every seed: luck with some objects does not average out."""
    rng = np.random.default_rng(4)
    values = []
    for i in range(300):
        parts, folds = null(rng, luck=0.05)
        parts += rng.normal(0, 1.0, OBJECTS)
        values.append(swap_test(parts, folds, STRATA, swaps=199, seed=i))
    assert np.mean(np.array(values) <= 0.05) < 0.08


def test_equal_answers_differ_in_nothing():
    nothing = np.zeros((SEEDS, OBJECTS))
    assert swap_test(nothing, np.zeros((SEEDS, OBJECTS), dtype=int), STRATA, swaps=99) == 1.0


def test_one_seed_gives_no_p_value():
    assert swap_test(np.ones((1, 4)), np.zeros((1, 4), dtype=int), np.zeros(4, dtype=int)) is None


def test_holm_is_the_published_procedure():
    # Holm (1979): sorted p times what is left, never falling, at most 1.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
