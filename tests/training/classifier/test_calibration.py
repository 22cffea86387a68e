import numpy as np
import pytest
from scipy.special import softmax

from training.classifier.calibration import (
    CONFIDENCE,
    AbstentionThreshold,
    abstention_threshold,
    apply_temperature,
    fit_temperature,
)


def drawn(count: int, sharpness: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `sharpness` times too confident for the labels drawn from them."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(0, 2, (count, 4))
    labels = np.array([rng.choice(4, p=row) for row in softmax(honest, axis=1)])
    return honest * sharpness, labels


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_temperature_undoes_over_and_underconfidence(sharpness: float) -> None:
    logits, labels = drawn(4000, sharpness)
    assert fit_temperature(logits, labels) == pytest.approx(sharpness, rel=0.1)


def test_nothing_is_ever_impossible() -> None:
    probabilities = apply_temperature(np.array([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0]]), 0.1)
    assert probabilities.astype(np.float32).min() > 0
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert probabilities[0].argmax() == 0


def test_few_or_unknown_labels_give_no_temperature_and_no_guarantee() -> None:
    logits, labels = drawn(60, 3.0)
    labels[5:] = -1
    assert fit_temperature(logits, labels) == 1.0
    found = abstention_threshold(apply_temperature(logits, 1.0), labels, 0.95)
    assert found.threshold == 0.95
    assert found.caveat is not None
    assert "5 validation pictures with a label are too few" in found.caveat
    assert "it takes 45." in found.caveat  # 0.95 ** 45 < 0.1 < 0.95 ** 44


def test_answers_above_the_threshold_are_as_accurate_as_asked() -> None:
    logits, labels = drawn(4000, 1.0)
    found = abstention_threshold(apply_temperature(logits, 1.0), labels, 0.9)
    assert found.caveat is None
    fresh, truth = drawn(4000, 1.0, seed=1)
    answers = apply_temperature(fresh, 1.0)
    sure = answers.max(axis=1) >= found.threshold
    assert (answers.argmax(axis=1) == truth)[sure].mean() == pytest.approx(0.91, abs=0.02)
    assert 0.2 < sure.mean() < 0.9


def simulated(count: int, skill: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated answers between two labels: the answer is 0, and right as often as stated."""
    certainty = 0.5 + 0.5 * rng.beta(skill, 0.7, count)
    rows = np.stack([certainty, 1 - certainty], axis=1)
    return rows, (rng.random(count) > certainty).astype(np.int64)


@pytest.mark.parametrize("skill", [8.0, 4.0, 1.5])
@pytest.mark.parametrize("count", [60, 103, 400])
def test_the_true_accuracy_is_below_the_target_as_seldom_as_stated(
    count: int, skill: float
) -> None:
    rng = np.random.default_rng(0)
    certainty = np.sort(simulated(200_000, skill, rng)[0][:, 0])[::-1]
    true_accuracy = np.cumsum(certainty) / np.arange(1, len(certainty) + 1)
    calibrations, missed = 600, 0
    for _ in range(calibrations):
        found = abstention_threshold(*simulated(count, skill, rng), 0.95)
        if found.caveat is None:
            given = max(int((certainty >= found.threshold).sum()), 1)
            missed += true_accuracy[given - 1] < 0.95
    assert missed / calibrations <= 1 - CONFIDENCE + 0.03


def test_a_good_model_gets_a_guarantee_from_a_hundred_pictures() -> None:
    rng = np.random.default_rng(1)
    found = [abstention_threshold(*simulated(103, 12.0, rng), 0.95) for _ in range(100)]
    assert np.mean([one.caveat is None for one in found]) > 0.7


def test_a_perfect_model_never_abstains_and_a_hopeless_one_promises_nothing() -> None:
    labels = np.arange(60) % 2
    right = np.eye(2)[labels] * 0.8 + 0.1
    assert abstention_threshold(right, labels, 0.95) == AbstentionThreshold(0.0)
    hopeless = abstention_threshold(right, 1 - labels, 0.95)
    assert hopeless.threshold == 0.95
    assert hopeless.caveat is not None
    assert "do not show 95% accuracy" in hopeless.caveat
