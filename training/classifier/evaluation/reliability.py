"""Whether a stated probability comes true: reliability bins and the calibration error."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from training.classifier.evaluation.results import ReliabilityBin

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

BINS = 15


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
