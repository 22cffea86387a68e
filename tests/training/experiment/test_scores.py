import numpy as np
import pytest
from sklearn.metrics import f1_score

from training.classifier.evaluation.reliability import calibration_error, reliability_bins
from training.experiment.statistics.answers import ArmAnswers
from training.experiment.statistics.scoring import (
    calibration_errors,
    class_f1,
    contributions,
    macro_weights,
)

CLASSES = 5


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def answers(rng, pictures=120, seeds=3):
    # Class 4 never occurs, but is predicted.
    truth = rng.integers(0, CLASSES - 1, pictures)
    predicted = np.where(
        rng.random((seeds, pictures)) < 0.6, truth, rng.integers(0, CLASSES, (seeds, pictures))
    )
    objects = np.sort(rng.integers(0, 40, pictures))
    return truth, predicted, np.unique(objects, return_inverse=True)[1]


def test_f1_is_what_scikit_learn_computes_from_repeated_pictures(rng):
    truth, predicted, objects = answers(rng)
    weights = rng.integers(0, 4, (6, objects.max() + 1)).astype(float)
    ours = class_f1(truth, predicted, objects, weights, CLASSES)
    for s in range(len(predicted)):
        for w in range(len(weights)):
            times = weights[w][objects].astype(int)
            theirs = f1_score(
                np.repeat(truth, times),
                np.repeat(predicted[s], times),
                labels=range(CLASSES),
                average=None,
                zero_division=0.0,
            )
            np.testing.assert_allclose(ours[s, w], theirs)


def test_f1_macro_counts_the_classes_that_occur_alike():
    weights = macro_weights(np.array([5, 0, 100, 1]))
    np.testing.assert_allclose(weights, [1 / 3, 0, 1 / 3, 1 / 3])


def test_contributions_add_up_to_the_difference_of_f1_macro(rng):
    truth, first, objects = answers(rng)
    second = first.copy()
    second[:, :8] = rng.integers(0, CLASSES, (len(first), 8))
    macro = macro_weights(np.bincount(truth, minlength=CLASSES))
    one = np.ones((1, objects.max() + 1))
    exact = [class_f1(truth, p, objects, one, CLASSES)[:, 0] @ macro for p in (first, second)]
    parts = contributions(truth, first, second, objects, macro)
    np.testing.assert_allclose(parts.sum(axis=1), exact[0] - exact[1], atol=2e-3)
    assert np.abs(exact[0] - exact[1]).max() > 0.01


def test_swapping_arms_turns_the_sign_of_contributions_even_for_some_pictures_alone(rng):
    truth, first, objects = answers(rng)
    second = answers(rng)[1]
    macro = macro_weights(np.bincount(truth, minlength=CLASSES))
    parts = contributions(truth, first, second, objects, macro)
    swapped = np.isin(objects, np.arange(10))
    a, b = np.where(swapped, second, first), np.where(swapped, first, second)
    signs = np.where(np.arange(objects.max() + 1) < 10, -1.0, 1.0)
    np.testing.assert_allclose(contributions(truth, a, b, objects, macro), parts * signs)


def test_calibration_error_is_the_evaluations_own(rng):
    truth, predicted, objects = answers(rng)
    confidence = rng.random(predicted.shape)
    arm = ArmAnswers((0, 1, 2), predicted, np.zeros_like(predicted), confidence)
    one = np.ones((1, objects.max() + 1))
    ours = calibration_errors(arm, truth, objects, one)[:, 0]
    theirs = [
        calibration_error(reliability_bins(c, p == truth))
        for c, p in zip(confidence, predicted, strict=True)
    ]
    np.testing.assert_allclose(ours, theirs)
