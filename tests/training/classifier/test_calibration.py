import numpy as np
import pytest
from scipy.special import softmax

from training.classifier.calibration import (
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


def test_few_or_unknown_labels_give_no_temperature() -> None:
    logits, labels = drawn(30, 3.0)
    labels[5:] = -1
    assert fit_temperature(logits, labels) == 1.0
    assert abstention_threshold(apply_temperature(logits, 1.0), labels, 0.95) == 0.0


def test_answers_above_the_threshold_are_as_accurate_as_asked() -> None:
    logits, labels = drawn(4000, 1.0)
    probabilities = apply_temperature(logits, 1.0)
    threshold = abstention_threshold(probabilities, labels, 0.9)
    fresh, truth = drawn(4000, 1.0, seed=1)
    answers = apply_temperature(fresh, 1.0)
    sure = answers.max(axis=1) >= threshold
    assert (answers.argmax(axis=1) == truth)[sure].mean() == pytest.approx(0.9, abs=0.03)
    assert 0.2 < sure.mean() < 0.9


def test_a_perfect_model_never_abstains_and_a_hopeless_one_always_does() -> None:
    labels = np.arange(40) % 2
    right = np.eye(2)[labels] * 0.8 + 0.1
    assert abstention_threshold(right, labels, 0.95) == 0.0
    assert abstention_threshold(right, 1 - labels, 0.95) == 1.0
