"""Whether a stated probability comes true: bins, calibration error, stated mass, log loss."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from training.classifier.evaluation.bootstrap import FloatArray, IntArray, interval, totals
from training.classifier.evaluation.results import (
    ClasswiseCalibration,
    ReliabilityBin,
    StatedMass,
)

BoolArray = npt.NDArray[np.bool_]

BINS = 15
RARE = 0.5
"""A class is rare if it has less than this share of what each would have if all were equal."""


def uncalibrated(probabilities: FloatArray, temperature: float) -> FloatArray:
    """Undo temperature scaling: softmax(z) from softmax(z / T), both [N, classes]."""
    # A probability that underflowed to 0 stays the smallest of its row.
    logarithms = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
    result: FloatArray = softmax(temperature * logarithms, axis=1)
    return result


def reliability_bins(confidence: FloatArray, correct: BoolArray) -> list[ReliabilityBin]:
    """Confidence against accuracy in equal-width bins (Guo et al., arXiv 1706.04599).

    Args:
        confidence: Probability of each answer [N].
        correct: Whether it is right [N].
    """
    index = np.minimum((confidence * BINS).astype(int), BINS - 1)
    count = np.bincount(index, minlength=BINS)
    confidences = np.bincount(index, confidence, BINS)
    hits = np.bincount(index, correct, BINS)
    return [
        ReliabilityBin(
            low=i / BINS,
            high=(i + 1) / BINS,
            count=int(count[i]),
            confidence=float(confidences[i] / count[i]) if count[i] else None,
            accuracy=float(hits[i] / count[i]) if count[i] else None,
        )
        for i in range(BINS)
    ]


def calibration_error(bins: list[ReliabilityBin]) -> float | None:
    """Mean gap between confidence and accuracy, weighted by the answers in each bin."""
    total = sum(part.count for part in bins)
    if total == 0:
        return None
    gaps = (
        part.count * abs(part.confidence - part.accuracy)
        for part in bins
        if part.confidence is not None and part.accuracy is not None
    )
    return float(sum(gaps) / total)


def truth_losses(probabilities: FloatArray, labels: IntArray) -> FloatArray:
    """Negative log probability of each picture's label [N], in nats.

    Args:
        probabilities: [N, classes].
        labels: Class indices [N].
    """
    truth = probabilities[np.arange(len(labels)), labels]
    # Bundles of version 1 may say 0 in single precision.
    return -np.log(np.maximum(truth, np.finfo(np.float32).tiny))


def mean_of(values: FloatArray, objects: IntArray, weights: FloatArray) -> FloatArray:
    """Weighted means of one number per picture [N] under each weighting [W] of the objects."""
    with np.errstate(invalid="ignore", divide="ignore"):
        result: FloatArray = totals(weights, objects, values) / totals(
            weights, objects, np.ones(len(values))
        )
    return result


def classwise_calibration(
    probabilities: FloatArray,
    labels: IntArray,
    training_counts: IntArray,
    objects: IntArray,
    weights: FloatArray,
) -> ClasswiseCalibration:
    """How often rare and common classes are stated, against how often they occur.

    Source: Kull et al., Beyond temperature scaling (arXiv 1910.12656), whose class-wise calibration
    looks at every class; few pictures of each allow groups of them only.

    Args:
        probabilities: [N, classes].
        labels: Class indices [N].
        training_counts: Training pictures per class [classes].
        objects: Object of each picture [N].
        weights: Weight per weighting and object [W, G].
    """
    rare = training_counts < RARE * training_counts.sum() / len(training_counts)

    def group(chosen: BoolArray) -> StatedMass:
        stated, observed = probabilities[:, chosen].sum(axis=1), chosen[labels].astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn = totals(weights, objects, stated) / totals(weights, objects, observed)
        drawn[~np.isfinite(drawn)] = np.nan  # a draw without one
        count = int(observed.sum())
        return StatedMass(
            classes=int(chosen.sum()),
            stated=float(stated.sum()),
            observed=count,
            stated_over_observed=float(stated.sum()) / count if count else None,
            stated_over_observed_interval=interval(drawn) if count else None,
        )

    return ClasswiseCalibration(rare=group(rare), common=group(~rare))
