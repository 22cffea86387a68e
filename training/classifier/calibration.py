"""Temperatures and abstention thresholds, both chosen on validation pictures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import bdtr, log_softmax, softmax

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

LEAST_PROBABILITY: Final = 1e-6
"""Nothing is impossible: every label is given so much, so that no logarithm is infinite."""

LEAST_PICTURES = 20
"""With fewer labelled validation pictures a temperature would be noise."""

CONFIDENCE: Final = 0.9
"""Chance, over validation sets, that answers above the abstention threshold are as accurate as
asked for."""


def fit_temperature(logits: FloatArray, labels: IntArray) -> float:
    """The softmax temperature that minimises the negative log likelihood.

    Source: Guo et al., On Calibration of Modern Neural Networks (arXiv 1706.04599).

    Args:
        logits: [N, classes].
        labels: Class indices [N]; -1 is unknown and left out.

    Returns:
        A temperature between 0.1 and 10; 1 with fewer than `LEAST_PICTURES` known labels.
    """
    known = labels >= 0
    if known.sum() < LEAST_PICTURES:
        return 1.0
    logits, labels = logits[known], labels[known]
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -float(scaled[rows, labels].mean())

    result = minimize_scalar(loss, bounds=(np.log(0.1), np.log(10.0)), method="bounded")
    return float(np.exp(result.x))


@dataclass(frozen=True)
class AbstentionThreshold:
    """From which probability on an answer is given.

    Attributes:
        threshold: The least probability of an answer that is given.
        caveat: None where the answers given are as accurate as asked for, with the confidence asked
            for; else one sentence that says why nothing is guaranteed.
    """

    threshold: float
    caveat: str | None = None


def abstention_threshold(
    probabilities: FloatArray,
    labels: IntArray,
    selective_accuracy: float,
    confidence: float = CONFIDENCE,
) -> AbstentionThreshold:
    """The lowest threshold whose answers are shown to be as accurate as asked for.

    Answers are tested from the surest on, in growing numbers: first as many as prove the accuracy
    if none of them is wrong, then as many as prove it if one is, and so on, each by the binomial
    tail. The first number that fails ends it, so that no correction for many tests is needed: the
    chance that the true accuracy of the answers given is lower than asked for is at most
    1 - confidence, provided that surer answers are not less accurate. Without proof the threshold
    is the accuracy asked for itself, which calibrated probabilities promise and nothing guarantees.

    Sources: Geifman and El-Yaniv, Selective Classification for Deep Neural Networks
    (arXiv 1705.08500); fixed-sequence testing as in Angelopoulos et al., Learn then Test
    (arXiv 2110.01052).

    Args:
        probabilities: Calibrated [N, classes]; one picture of each object, as pictures of one
            object are right or wrong together.
        labels: Class indices [N]; -1 is unknown and left out.
        selective_accuracy: Accuracy wanted of answers with at least the threshold's probability.
        confidence: Chance, over validation sets, that they have it.
    """
    known = labels >= 0
    certainty = probabilities[known].max(axis=1)
    wrong = probabilities[known].argmax(axis=1) != labels[known]
    order = np.argsort(-certainty, kind="stable")
    certainty, errors = certainty[order], np.cumsum(wrong[order])
    proved = 0
    for count in _test_counts(len(certainty), selective_accuracy, confidence):
        # Equal probabilities are given or withheld together.
        given = int(np.searchsorted(-certainty, -certainty[count - 1], side="right"))
        if bdtr(errors[given - 1], given, 1 - selective_accuracy) > 1 - confidence:
            break
        proved = given
    if proved == 0:
        needed = _least_count(0, selective_accuracy, confidence)
        return AbstentionThreshold(
            selective_accuracy, _caveat(len(certainty), needed, selective_accuracy, confidence)
        )
    if proved == len(certainty):
        return AbstentionThreshold(0.0)
    # Half way to the first withheld answer: validation says nothing between the two.
    return AbstentionThreshold(float(certainty[proved - 1] + certainty[proved]) / 2)


def _test_counts(total: int, accuracy: float, confidence: float) -> list[int]:
    """How many answers are tested, in turn: each bears one error more than the last; then all."""
    counts: list[int] = []
    while (count := _least_count(len(counts), accuracy, confidence)) <= total:
        counts.append(count)
    return [*counts, total] if counts and counts[-1] < total else counts


@cache
def _least_count(errors: int, accuracy: float, confidence: float) -> int:
    """The fewest answers that prove an accuracy though so many of them are wrong."""
    # P(Binomial(n, 1 - accuracy) <= errors) <= 1 - confidence falls with n: doubled, then halved.
    high = errors + 1
    while bdtr(errors, high, 1 - accuracy) > 1 - confidence:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        if bdtr(errors, middle, 1 - accuracy) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _caveat(count: int, needed: int, accuracy: float, confidence: float) -> str:
    wanted = f"{accuracy:.0%} accuracy with {confidence:.0%} confidence"
    if count < needed:
        return (
            f"{count} validation pictures with a label are too few to guarantee {wanted}: even "
            f"without a single error it takes {needed}."
        )
    return (
        f"The answers to {count} validation pictures do not show {wanted}, not even the surest of "
        "them."
    )


def apply_temperature(logits: FloatArray, temperature: float) -> FloatArray:
    """Calibrated probabilities [N, classes], none below `LEAST_PROBABILITY`."""
    rest = 1.0 - LEAST_PROBABILITY * logits.shape[1]
    result: FloatArray = LEAST_PROBABILITY + rest * softmax(logits / temperature, axis=1)
    return result
