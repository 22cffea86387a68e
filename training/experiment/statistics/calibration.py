"""The calibration error of every seed under many weightings of the objects at once."""

from __future__ import annotations

import numpy as np

from training.classifier.evaluation.reliability import BINS
from training.experiment.statistics.answers import ArmAnswers, FloatArray, IntArray


def calibration_errors(
    answers: ArmAnswers, truth: IntArray, objects: IntArray, weights: FloatArray
) -> FloatArray:
    """Mean gap between confidence and accuracy, as `reliability.calibration_error` measures it.

    Args:
        answers: Of one arm.
        truth: Class indices [N].
        objects: Object of each picture [N].
        weights: Weight of each object in W weightings [W, G].

    Returns:
        [S, W], the folds of a seed pooled.
    """
    gaps = answers.confidence - (answers.predicted == truth)
    index = np.minimum((answers.confidence * BINS).astype(np.int64), BINS - 1)
    pictures = weights @ np.bincount(objects, minlength=weights.shape[1])
    errors = []
    for bins, gap in zip(index, gaps, strict=True):
        table = np.bincount(objects * BINS + bins, gap, weights.shape[1] * BINS)
        errors.append(np.abs(weights @ table.reshape(-1, BINS)).sum(axis=1) / pictures)
    return np.asarray(errors)
