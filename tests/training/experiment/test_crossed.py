import numpy as np
import pytest
from scipy import stats

from training.classifier.evaluation.bootstrap import choose_stand_ins, smoothed_draws
from training.experiment.statistics.crossed import crossed_mean, satterthwaite

OBJECTS, SEEDS = 80, 6


def linear(rng, seed_effect, object_effect, answer_effect):
    """A score that is a plain mean over objects, so that its true variance is known."""
    values = rng.normal(0, answer_effect, (SEEDS, OBJECTS))
    values += rng.normal(0, seed_effect, (SEEDS, 1)) + rng.normal(0, object_effect, OBJECTS)
    one = choose_stand_ins(np.zeros(OBJECTS, dtype=int), np.arange(OBJECTS), np.array([True]), 0)
    draws = smoothed_draws(one, 300, int(rng.integers(1 << 30)))
    scores = values.mean(axis=1)[:, None]
    drawn = (values @ draws.T / OBJECTS)[:, :, None]
    return crossed_mean(scores, drawn, np.ones(1), np.array([OBJECTS]))


@pytest.mark.parametrize("effects", [(0.1, 1.0, 1.0), (0.2, 0.0, 1.0), (0.0, 1.0, 0.3)])
def test_variance_and_coverage_are_those_of_the_crossed_model(effects):
    rng = np.random.default_rng(0)
    found = [linear(rng, *effects) for _ in range(400)]
    seed, item, answer = effects
    truth = seed**2 / SEEDS + item**2 / OBJECTS + answer**2 / (SEEDS * OBJECTS)
    # Where objects do not matter their part, which cannot be negative, is a little too large.
    assert 0.92 < np.mean([f.standard_error**2 for f in found]) / truth < 1.2
    holds = np.mean([f.low <= 0.0 <= f.high for f in found])
    assert 0.92 < holds < 0.985


def test_resampling_seeds_alone_or_objects_alone_would_be_too_sure():
    rng = np.random.default_rng(1)
    found = [linear(rng, 0.15, 1.0, 1.0) for _ in range(300)]
    true = np.std([f.value for f in found])
    assert np.mean([f.from_seeds**0.5 for f in found]) < 0.8 * true
    assert np.mean([f.from_objects**0.5 for f in found]) < 0.9 * true
    assert np.mean([f.standard_error for f in found]) > 0.93 * true


def test_without_variation_between_objects_it_is_a_t_interval_over_seeds():
    scores = np.array([[0.1], [0.2], [0.4], [0.1]])
    drawn = np.repeat(scores[:, None, :], 50, axis=1)
    estimate = crossed_mean(scores, drawn, np.ones(1), np.array([10]))
    expected = stats.t.interval(0.95, 3, scores.mean(), stats.sem(scores[:, 0]))
    np.testing.assert_allclose((estimate.low, estimate.high), expected)
    assert estimate.degrees == pytest.approx(3)


def test_one_seed_has_a_value_and_no_interval():
    estimate = crossed_mean(np.array([[0.5]]), np.full((1, 9, 1), 0.5), np.ones(1), np.array([4]))
    assert estimate.value == 0.5
    assert estimate.low is None
    assert estimate.standard_error is None


def test_degrees_of_freedom_lie_between_the_smallest_and_the_sum():
    assert satterthwaite(1.0, 4, 0.0, 9) == pytest.approx(4)
    assert satterthwaite(1.0, 4, 1.0, 4) == pytest.approx(8)
    assert satterthwaite(0.0, 4, 0.0, 4) > 1e5
