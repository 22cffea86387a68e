"""F1 of every class under many weightings of the objects at once, and its linear form.

F1-macro here is the mean over the classes that occur among the tested pictures, so that every arm
is averaged over the same classes; an answer that names any other class is a mistake.
"""

from __future__ import annotations

import numpy as np

from training.experiment.statistics.answers import FloatArray, IntArray


def class_f1(
    truth: IntArray, predicted: IntArray, objects: IntArray, weights: FloatArray, classes: int
) -> FloatArray:
    """F1 per seed, weighting and class, the folds of a seed pooled.

    Args:
        truth: Class indices [N].
        predicted: Class indices [S, N].
        objects: Object of each picture [N].
        weights: Weight of each object in W weightings [W, G]. All ones is the plain score.
        classes: Their number C.

    Returns:
        [S, W, C]; 0 for a class that neither occurs nor is predicted.
    """
    seeds, count = len(predicted), weights.shape[1]
    right = np.where(predicted == truth, truth, -1)
    occurring = weights @ _table(truth[None], objects, count, classes)
    answered = weights @ _table(predicted, objects, count, classes)
    correct = weights @ _table(right, objects, count, classes)
    shape = (len(weights), seeds, classes)
    both = occurring[:, None, :] + answered.reshape(shape)
    f1 = np.zeros(shape)
    np.divide(2.0 * correct.reshape(shape), both, out=f1, where=both > 0)
    return f1.transpose(1, 0, 2)


def macro_weights(occurring: IntArray) -> FloatArray:
    """The weight of each class in F1-macro [C]: equal where it occurs, else 0."""
    present = occurring > 0
    return present / max(int(present.sum()), 1)


def contributions(
    truth: IntArray,
    first: IntArray,
    second: IntArray,
    objects: IntArray,
    class_weights: FloatArray,
) -> FloatArray:
    """What each object adds to the difference of two arms in a weighted mean of class F1.

    With t hits among d = occurring + predicted pictures F1 is 2t/d. Linearised at the midpoint of
    both arms, the difference is a sum over pictures. The midpoint stays where it is when the arms
    are swapped, for all pictures or for some: a swap only turns the sign of a contribution, which
    is what makes the permutation test (`permutation.swap_test`) exact and fast.

    Args:
        truth: Class indices [N].
        first: Answers of one arm [S, N].
        second: Answers of the other [S, N].
        objects: Object of each picture [N].
        class_weights: Weight of each class [C].

    Returns:
        [S, G]; each row sums to the linearised difference of that seed.
    """
    classes = len(class_weights)
    occurring = np.bincount(truth, minlength=classes)
    hits = (_count(truth, first, classes) + _count(truth, second, classes)) / 2.0
    answered = (_count(first, first, classes) + _count(second, second, classes)) / 2.0
    both = np.maximum(occurring + answered, 1.0)
    per_hit = 2.0 * class_weights / both
    per_answer = per_hit * hits / both
    seed = np.arange(len(first))[:, None]
    right = (first == truth).astype(np.float64) - (second == truth)
    values = right * per_hit[:, truth] - per_answer[seed, first] + per_answer[seed, second]
    size = int(objects.max(initial=-1)) + 1
    cells = seed * size + objects
    sums = np.bincount(cells.ravel(), values.ravel(), len(first) * size)
    return sums.reshape(len(first), size).astype(np.float64)


def _count(truth: IntArray, predicted: IntArray, classes: int) -> FloatArray:
    """Pictures per seed and class [S, C] on which `predicted` equals `truth`."""
    equal = predicted == truth
    cells = np.arange(len(predicted))[:, None] * classes + predicted
    counts = np.bincount(cells[equal], minlength=len(predicted) * classes)
    return counts.reshape(len(predicted), classes).astype(np.float64)


def _table(classes: IntArray, objects: IntArray, count: int, size: int) -> FloatArray:
    """Pictures per object, seed and class [G, S * C]; class -1 is left out."""
    seeds = len(classes)
    cells = (objects * seeds + np.arange(seeds)[:, None]) * size + classes
    counts = np.bincount(cells[classes >= 0], minlength=count * seeds * size)
    return counts.reshape(count, seeds * size).astype(np.float64)
