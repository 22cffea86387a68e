"""Scores of many weightings of the same pictures at once, and bootstrap intervals from them.

A photograph is not an independent sample: photographs of one object share its label and mostly
its fate. So whole objects are drawn with replacement (the cluster bootstrap, Field and Welsh,
J. R. Statist. Soc. B 69, 2007), and the interval is the percentile interval (Efron 1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Scores:
    """Scores per weighting, each [W]; NaN where a weighting leaves nothing to score."""

    f1_macro: FloatArray
    balanced_accuracy: FloatArray
    accuracy: FloatArray


def object_weights(groups: Sequence[str], resamples: int, seed: int) -> tuple[IntArray, FloatArray]:
    """Draw objects with replacement.

    Args:
        groups: Object of each of N pictures.
        resamples: How many draws.
        seed: Of the draws.

    Returns:
        The index of each picture's object [N], and how often each draw holds each object
        [resamples, objects].
    """
    names, index = np.unique(np.asarray(groups, dtype=object), return_inverse=True)
    count = len(names)
    rng = np.random.default_rng(seed)
    if count == 0:
        return index.astype(np.int64), np.zeros((resamples, 0))
    weights = rng.multinomial(count, np.full(count, 1.0 / count), size=resamples)
    return index.astype(np.int64), weights.astype(np.float64)


def totals(weights: FloatArray, objects: IntArray, values: FloatArray) -> FloatArray:
    """Weighted sums over pictures.

    Args:
        weights: Weight per weighting and object [W, G].
        objects: Object of each picture [N].
        values: One number per picture [N].

    Returns:
        Sums [W].
    """
    return weights @ np.bincount(objects, values, minlength=weights.shape[1])


def scores(
    labels: IntArray, predictions: IntArray, objects: IntArray, weights: FloatArray
) -> Scores:
    """F1-macro, balanced accuracy and accuracy under each weighting of the objects.

    Each equals what scikit-learn computes from pictures repeated as often as their object's
    weight: F1-macro over the labels that occur or are predicted, balanced accuracy over those
    that occur.

    Args:
        labels: Known class indices [N].
        predictions: Predicted class indices [N].
        objects: Object of each picture [N].
        weights: Weight per weighting and object [W, G].
    """
    if len(labels) == 0:
        nothing = np.full(len(weights), np.nan)
        return Scores(nothing, nothing, nothing)
    hits = np.where(labels == predictions, labels, -1)
    occurring = _per_class(labels, objects, weights)
    predicted = _per_class(predictions, objects, weights)
    correct = _per_class(hits, objects, weights)
    size = max(part.shape[1] for part in (occurring, predicted, correct))
    occurring, predicted, correct = (_widen(part, size) for part in (occurring, predicted, correct))
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = 2.0 * correct / (occurring + predicted)
        recall = correct / occurring
        accuracy = correct.sum(axis=1) / occurring.sum(axis=1)
    return Scores(_mean_of_defined(f1), _mean_of_defined(recall), accuracy)


def interval(values: FloatArray) -> tuple[float, float] | None:
    """The central 95 % of bootstrap values; None where none is defined."""
    defined = values[~np.isnan(values)]
    if len(defined) == 0:
        return None
    tail = 100.0 * (1.0 - CONFIDENCE) / 2.0
    low, high = np.percentile(defined, [tail, 100.0 - tail])
    return float(low), float(high)


def _per_class(classes: IntArray, objects: IntArray, weights: FloatArray) -> FloatArray:
    """Weighted pictures per weighting and class [W, C]; class -1 is left out."""
    kept = classes >= 0
    size = int(classes.max(initial=-1)) + 1
    cells = objects[kept] * size + classes[kept]
    pictures = np.bincount(cells, minlength=weights.shape[1] * size)
    result: FloatArray = weights @ pictures.reshape(weights.shape[1], size)
    return result


def _widen(part: FloatArray, size: int) -> FloatArray:
    return np.pad(part, ((0, 0), (0, size - part.shape[1])))


def _mean_of_defined(values: FloatArray) -> FloatArray:
    defined = ~np.isnan(values)
    count = defined.sum(axis=1)
    total = np.where(defined, values, 0.0).sum(axis=1)
    result: FloatArray = np.full(len(values), np.nan)
    np.divide(total, count, out=result, where=count > 0)
    return result
