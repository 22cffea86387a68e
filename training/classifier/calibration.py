"""Temperatures and abstention thresholds, both chosen on validation pictures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

LEAST_PICTURES = 20
"""With fewer labelled validation pictures a temperature or threshold would be noise."""


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


def abstention_threshold(
    probabilities: FloatArray, labels: IntArray, selective_accuracy: float
) -> float:
    """The lowest threshold above which validation answers reach the accuracy asked for.

    Args:
        probabilities: Calibrated [N, classes].
        labels: Class indices [N]; -1 is unknown and left out.
        selective_accuracy: Accuracy wanted of answers with at least the threshold's probability.

    Returns:
        A probability; 0 where all answers together reach it or too few labels are known, 1 where
        no threshold does.
    """
    known = labels >= 0
    if known.sum() < LEAST_PICTURES:
        return 0.0
    confidence = probabilities[known].max(axis=1)
    correct = probabilities[known].argmax(axis=1) == labels[known]
    order = np.argsort(-confidence, kind="stable")
    accuracy = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
    # Equal confidences are accepted or refused together.
    last_of_equal = np.append(confidence[order][1:] < confidence[order][:-1], True)
    good = np.flatnonzero((accuracy >= selective_accuracy) & last_of_equal)
    if len(good) == 0:
        return 1.0
    if good[-1] == len(order) - 1:
        return 0.0
    # Half way to the first refused answer: validation says nothing between the two.
    accepted = confidence[order][good[-1]]
    refused = confidence[order][good[-1] + 1]
    return float((accepted + refused) / 2)


def apply_temperature(logits: FloatArray, temperature: float) -> FloatArray:
    """Calibrated probabilities [N, classes]."""
    result: FloatArray = softmax(logits / temperature, axis=1)
    return result
