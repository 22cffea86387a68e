"""How good predictions are, per task, with 95 % intervals over objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from training.classifier.evaluation.bootstrap import (
    FloatArray,
    IntArray,
    interval,
    macro_draws,
    object_weights,
    scores,
)
from training.classifier.evaluation.reliability import (
    calibration_error,
    classwise_calibration,
    mean_of,
    reliability_bins,
    truth_losses,
    uncalibrated,
)
from training.classifier.evaluation.results import (
    Abstention,
    ClassResult,
    Confusion,
    NameableOnly,
    TaskEvaluation,
    bundle_metrics,
)

__all__ = ["bundle_metrics", "evaluate_predictions", "f1_macro", "mean_f1_interval"]

UNKNOWN = -1
"""The index of a blank label; such a picture is left out of its task."""


def f1_macro(labels: npt.ArrayLike, predictions: npt.ArrayLike) -> float:
    """Mean F1 over the labels that occur or are predicted, as scikit-learn's `average="macro"`.

    Args:
        labels: Class indices [N]; -1 is unknown and left out.
        predictions: Predicted class indices [N].

    Returns:
        A score from 0 to 1; NaN where no label is known.
    """
    true, predicted = np.asarray(labels, dtype=np.int64), np.asarray(predictions, dtype=np.int64)
    known = true != UNKNOWN
    return _point(true[known], predicted[known])[0]


def evaluate_predictions(
    labels: Mapping[str, npt.ArrayLike],
    probabilities: Mapping[str, npt.ArrayLike],
    classes: Mapping[str, Sequence[str]],
    groups: Sequence[str],
    *,
    temperatures: Mapping[str, float] | None = None,
    thresholds: Mapping[str, float] | None = None,
    training_counts: Mapping[str, Mapping[str, int]] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, TaskEvaluation]:
    """Score every task.

    Args:
        labels: Per task, class indices [N] into `classes`; -1 is unknown and left out.
        probabilities: Per task, calibrated probabilities [N, C].
        classes: Per task, the label of each index. The first C are the model's; any after them
            are labels of the data that the model cannot name, and count as errors.
        groups: The object that each of the N pictures shows.
        temperatures: Softmax temperatures already applied, for the calibration error without.
        thresholds: Least probability of an answer that is given, for coverage.
        training_counts: Training pictures per task and label, for which classes are rare.
        resamples: Bootstrap draws.
        seed: Of the draws. The same objects are drawn for every task.
    """
    objects, weights = object_weights(groups, resamples, seed)
    return {
        task: _evaluate_task(
            np.asarray(labels[task], dtype=np.int64),
            np.asarray(probabilities[task], dtype=np.float64),
            list(classes[task]),
            objects,
            weights,
            None if temperatures is None else temperatures[task],
            None if thresholds is None else thresholds[task],
            None if training_counts is None else training_counts[task],
            seed,
        )
        for task in probabilities
    }


def mean_f1_interval(
    labels: Mapping[str, npt.ArrayLike],
    predictions: Mapping[str, npt.ArrayLike],
    named: Mapping[str, int],
    groups: Sequence[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Interval of the tasks' mean F1-macro; tasks vary together as they do on the same objects.

    Args:
        labels: Per task, class indices [N]; -1 is unknown and left out.
        predictions: Per task, the answers [N].
        named: Per task, how many classes the model can answer.
        groups: The object that each of the N pictures shows.
        resamples: Bootstrap draws.
        seed: Of the draws.
    """
    objects, weights = object_weights(groups, resamples, seed)
    values = []
    for task, given in labels.items():
        true = np.asarray(given, dtype=np.int64)
        known = true != UNKNOWN
        if known.any():
            true, predicted = true[known], np.asarray(predictions[task], dtype=np.int64)[known]
            joint = scores(true, predicted, objects[known], weights).f1_macro
            own = macro_draws(
                true, predicted, objects[known], named[task], resamples=resamples, seed=seed
            )
            # Each task's own draws in the order of the joint ones (Iman and Conover, 1982).
            values.append(np.sort(own.f1_macro)[joint.argsort().argsort()])
    return interval(np.mean(values, axis=0)) if values else None


def _evaluate_task(
    labels: IntArray,
    probabilities: FloatArray,
    classes: list[str],
    objects: IntArray,
    weights: FloatArray,
    temperature: float | None,
    threshold: float | None,
    training_counts: Mapping[str, int] | None,
    seed: int,
) -> TaskEvaluation:
    known = labels != UNKNOWN
    labels, probabilities, objects = labels[known], probabilities[known], objects[known]
    support = len(labels)
    predictions = probabilities.argmax(axis=1)
    confidence, correct = probabilities.max(axis=1), predictions == labels
    f1, balanced, accuracy = (_number(value) for value in _point(labels, predictions))
    draws = scores(labels, predictions, objects, weights)
    named = probabilities.shape[1]
    averages = macro_draws(labels, predictions, objects, named, resamples=len(weights), seed=seed)
    matrix = _confusion(labels, predictions, len(classes))
    bins = reliability_bins(confidence, correct)
    bins_before = []
    if temperature is not None:
        bins_before = reliability_bins(
            uncalibrated(probabilities, temperature).max(axis=1), correct
        )
    occurring = matrix.sum(axis=1)
    nameable = labels < named
    losses = truth_losses(probabilities[nameable], labels[nameable])
    counts = None
    if training_counts is not None:
        counts = np.asarray([training_counts.get(name, 0) for name in classes[:named]])
    return TaskEvaluation(
        support=support,
        objects=len(np.unique(objects)),
        f1_macro=f1,
        f1_macro_interval=interval(averages.f1_macro),
        accuracy=accuracy,
        accuracy_interval=interval(draws.accuracy),
        balanced_accuracy=balanced,
        balanced_accuracy_interval=interval(averages.balanced_accuracy),
        log_loss=float(losses.mean()) if len(losses) else None,
        log_loss_interval=interval(mean_of(losses, objects[nameable], weights)),
        ece=calibration_error(bins),
        ece_uncalibrated=calibration_error(bins_before),
        temperature=temperature,
        classwise_calibration=(
            None
            if counts is None
            else classwise_calibration(
                probabilities[nameable], labels[nameable], counts, objects[nameable], weights
            )
        ),
        abstention=(
            None
            if threshold is None or support == 0
            else _abstention(threshold, confidence, correct, objects, weights)
        ),
        classes=_class_results(matrix, classes),
        confusion=Confusion(labels=classes, matrix=matrix.tolist()),
        reliability=bins,
        reliability_uncalibrated=bins_before,
        unknown_labels={classes[i]: int(occurring[i]) for i in range(named, len(classes))},
        nameable_only=_nameable_only(labels, predictions, named),
    )


def _point(labels: IntArray, predictions: IntArray) -> tuple[float, float, float]:
    """F1-macro, balanced accuracy and accuracy with every picture counted once."""
    one = np.zeros(len(labels), dtype=np.int64)
    result = scores(labels, predictions, one, np.ones((1, 1)))
    return (
        float(result.f1_macro[0]),
        float(result.balanced_accuracy[0]),
        float(result.accuracy[0]),
    )


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def _confusion(labels: IntArray, predictions: IntArray, size: int) -> IntArray:
    """Pictures by true and predicted class [size, size]."""
    cells = np.bincount(labels * size + predictions, minlength=size * size)
    return cells.reshape(size, size).astype(np.int64)


def _class_results(matrix: IntArray, classes: list[str]) -> dict[str, ClassResult]:
    results = {}
    for i, label in enumerate(classes):
        hits, occurring, predicted = (
            int(matrix[i, i]),
            int(matrix[i].sum()),
            int(matrix[:, i].sum()),
        )
        results[label] = ClassResult(
            precision=hits / predicted if predicted else None,
            recall=hits / occurring if occurring else None,
            f1=2 * hits / (occurring + predicted) if occurring + predicted else 0.0,
            support=occurring,
        )
    return results


def _abstention(
    threshold: float,
    confidence: FloatArray,
    correct: npt.NDArray[np.bool_],
    objects: IntArray,
    weights: FloatArray,
) -> Abstention:
    given = confidence >= threshold
    drawn = mean_of(correct[given].astype(np.float64), objects[given], weights)
    return Abstention(
        threshold=threshold,
        coverage=float(given.mean()),
        selective_accuracy=float(correct[given].mean()) if given.any() else None,
        selective_accuracy_interval=interval(drawn),
    )


def _nameable_only(labels: IntArray, predictions: IntArray, named: int) -> NameableOnly | None:
    nameable = labels < named
    if nameable.all():
        return None
    f1, _, accuracy = _point(labels[nameable], predictions[nameable])
    return NameableOnly(
        support=int(nameable.sum()), f1_macro=_number(f1), accuracy=_number(accuracy)
    )
