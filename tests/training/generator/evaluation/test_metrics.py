"""The measures on constructed sets whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from training.generator.evaluation.metrics import (
    compare_manifolds,
    diversity,
    kernel_distance,
    radii,
    squared_discrepancy,
)


def gaussian(count: int, shift: float = 0.0, seed: int = 0, width: int = 16) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, width)) + shift).astype(np.float32)


def test_kid_is_torchmetrics_formula_where_that_applies():
    one, two = gaussian(60), gaussian(60, 0.5, seed=1)
    theirs = poly_mmd(torch.from_numpy(one).double(), torch.from_numpy(two).double())
    assert squared_discrepancy(one, two) == pytest.approx(float(theirs), rel=1e-9)


def test_kid_is_the_mean_over_pairs_for_sets_of_different_size():
    one, two = gaussian(7, width=3).astype(float), gaussian(4, 1.0, seed=1, width=3).astype(float)

    def kernel(x, y):
        return (x @ y / 3 + 1) ** 3

    def mean(xs, ys, same):
        return np.mean(
            [kernel(x, y) for i, x in enumerate(xs) for j, y in enumerate(ys) if not same or i != j]
        )

    expected = mean(one, one, True) + mean(two, two, True) - 2 * mean(one, two, False)
    assert squared_discrepancy(one, two) == pytest.approx(expected)


def test_kid_of_one_distribution_is_zero_on_average_whatever_the_sizes():
    for n, m in ((400, 400), (400, 12)):
        values = [
            squared_discrepancy(gaussian(n, seed=2 * i), gaussian(m, seed=2 * i + 1))
            for i in range(40)
        ]
        standard_error = np.std(values) / np.sqrt(len(values))
        assert abs(np.mean(values)) < 4 * standard_error
        assert min(values) < 0 < max(values)


def test_kid_grows_with_the_shift_far_beyond_its_spread():
    real = gaussian(300)
    results = [kernel_distance(real, gaussian(300, shift, seed=1)) for shift in (0, 0.3, 0.6, 1.2)]
    values = [result.value for result in results]
    assert values == sorted(values)
    assert abs(values[0]) < 3 * results[0].std
    assert values[1] > 3 * values[0]
    assert values[3] > 3 * results[3].std


def test_kid_in_blocks_is_kid_at_once():
    one, two = gaussian(1500, width=4), gaussian(1100, 0.2, seed=1, width=4)

    def kernel(xs, ys):
        return (xs.astype(float) @ ys.astype(float).T / 4 + 1) ** 3

    expected = -2 * kernel(one, two).mean()
    for values in (one, two):
        within = kernel(values, values)
        expected += (within.sum() - np.trace(within)) / (len(values) * (len(values) - 1))
    assert squared_discrepancy(one, two) == pytest.approx(expected, rel=1e-9)


def test_too_few_pictures_have_no_distance():
    assert kernel_distance(gaussian(50), gaussian(3)) is None
    assert compare_manifolds(gaussian(50), gaussian(5)) is None
    assert diversity(gaussian(1)) is None


def test_same_seed_same_spread():
    one, two = gaussian(40), gaussian(30, seed=1)
    assert kernel_distance(one, two, seed=3) == kernel_distance(one, two, seed=3)
    assert kernel_distance(one, two, seed=3) != kernel_distance(one, two, seed=4)


def test_a_set_covers_itself_exactly_once():
    real = gaussian(200)
    manifold = compare_manifolds(real, real.copy())
    assert (manifold.precision, manifold.recall) == (1.0, 1.0)
    assert manifold.density == pytest.approx(1.0)
    assert manifold.coverage == 1.0


def test_two_samples_of_one_distribution_have_density_one_and_the_coverage_that_theory_says():
    # arXiv 2002.09797, Lemma 2: 1 - (N-1)…(N-k) / ((M+N-1)…(M+N-k)).
    n = m = 600
    manifold = compare_manifolds(gaussian(n, width=4), gaussian(m, seed=1, width=4))
    expected = 1 - np.prod([(n - i) / (m + n - i) for i in range(1, 6)])
    assert manifold.coverage == pytest.approx(expected, abs=0.03)
    assert manifold.density == pytest.approx(1.0, abs=0.1)


def test_far_apart_sets_share_nothing():
    manifold = compare_manifolds(gaussian(60), gaussian(60, 50.0, seed=1))
    assert (manifold.precision, manifold.recall) == (0.0, 0.0)
    assert (manifold.density, manifold.coverage) == (0.0, 0.0)


def test_a_generator_that_knows_one_kind_of_two_is_precise_and_recalls_half():
    kinds = [gaussian(100, width=2, seed=2), gaussian(100, 40.0, width=2, seed=3)]
    manifold = compare_manifolds(np.concatenate(kinds), gaussian(100, width=2, seed=4))
    assert manifold.precision > 0.9
    assert 0.4 < manifold.recall <= 0.5
    assert 0.4 < manifold.coverage <= 0.5


def test_one_outlier_photograph_inflates_precision_and_not_density():
    # The case for which density was made: one far photograph has a radius that swallows all.
    real = np.concatenate([gaussian(99, width=2), np.full((1, 2), 30.0, np.float32)])
    strange = gaussian(100, 12.0, seed=1, width=2)
    manifold = compare_manifolds(real, strange)
    assert manifold.precision > 0.9
    assert manifold.density < 0.25


def test_radius_is_the_distance_to_the_kth_other_picture():
    line = np.asarray([[0.0], [1.0], [3.0], [7.0]])
    assert radii(line, 1).tolist() == [1, 1, 2, 4]
    assert radii(line, 2).tolist() == [3, 2, 3, 6]


def test_diversity_is_the_mean_distance_of_pairs():
    assert diversity(np.asarray([[0.0], [1.0], [3.0]])) == pytest.approx(2.0)
    assert diversity(np.zeros((5, 3))) == 0.0
    assert diversity(2 * gaussian(50)) == pytest.approx(2 * diversity(gaussian(50)))
