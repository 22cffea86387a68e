"""A trained arm's answers and their measures as rows, and the ratio per task that they favour.

Ratios are chosen by the balanced log loss of validation pictures; test pictures are not looked at.
With a hundred validation pictures and classes of one or two among them, F1-macro moves in steps too
coarse to choose by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from training.classifier.calibration import apply_temperature, fit_temperature
from training.classifier.evaluation.metrics import f1_macro
from training.classifier.evaluation.reliability import calibration_error, reliability_bins
from training.experiment.records import Experiment, Subset

BALANCED_LOSS = "balanced_log_loss"
"""Mean over the classes that occur of the mean negative log probability of the truth: every kind
counts alike, and unlike F1-macro it hears of every picture how nearly it was right."""

_MIN_PROBABILITY = 1e-12

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Answers:
    """One part's answers.

    Attributes:
        split: Which part.
        positions: Its N pictures in `Experiment.pictures`.
        labels: Class indices [N, tasks]; -1 where unknown.
        probabilities: Per task, calibrated [N, classes].
    """

    split: Subset
    positions: Sequence[int]
    labels: IntArray
    probabilities: Mapping[str, FloatArray]


def fit_temperatures(logits: Mapping[str, FloatArray], labels: IntArray) -> dict[str, float]:
    """A softmax temperature per task, from validation logits [N, classes]."""
    return {
        task: fit_temperature(values, labels[:, column])
        for column, (task, values) in enumerate(logits.items())
    }


def calibrate(
    logits: Mapping[str, FloatArray], temperatures: Mapping[str, float]
) -> dict[str, FloatArray]:
    """Probabilities per task [N, classes]."""
    return {task: apply_temperature(values, temperatures[task]) for task, values in logits.items()}


def prediction_rows(answers: Answers, experiment: Experiment) -> list[dict[str, object]]:
    """Rows of `records.PREDICTIONS`, picture by picture."""
    rows: list[dict[str, object]] = []
    for i, position in enumerate(answers.positions):
        picture = experiment.pictures[position]
        for column, task in enumerate(experiment.tasks):
            probabilities = answers.probabilities[task][i]
            best, truth = int(probabilities.argmax()), int(answers.labels[i, column])
            rows.append(
                {
                    "split": answers.split,
                    "file_name": picture.file_name,
                    "object_id": picture.object_id,
                    "task": task,
                    "truth": picture.labels[task] if truth >= 0 else None,
                    "predicted": experiment.labels[task][best],
                    "probability_of_truth": float(probabilities[truth]) if truth >= 0 else None,
                    "confidence": float(probabilities[best]),
                    "probabilities": probabilities.astype(np.float32).tolist(),
                }
            )
    return rows


def record_rows(answers: Answers, tasks: Sequence[str]) -> list[dict[str, object]]:
    """Rows of `records.RECORDS`; measures that need a known label are left out without any."""
    rows: list[dict[str, object]] = []
    for column, task in enumerate(tasks):
        for metric, value in measure(
            answers.probabilities[task], answers.labels[:, column]
        ).items():
            rows.append({"task": task, "split": answers.split, "metric": metric, "value": value})
    return rows


def measure(probabilities: FloatArray, labels: IntArray) -> dict[str, float]:
    """The measures of one task.

    Args:
        probabilities: Calibrated [N, classes].
        labels: Class indices [N]; -1 is unknown and left out.
    """
    known = labels >= 0
    labels, probabilities = labels[known], probabilities[known]
    if len(labels) == 0:
        return {"support": 0.0}
    predicted = probabilities.argmax(axis=1)
    right = predicted == labels
    losses = truth_losses(probabilities, labels)
    error = calibration_error(reliability_bins(probabilities.max(axis=1), right))
    return {
        "support": float(len(labels)),
        "f1_macro": f1_macro(labels, predicted),
        "accuracy": float(right.mean()),
        "balanced_accuracy": _class_mean(right.astype(np.float64), labels),
        "log_loss": float(losses.mean()),
        BALANCED_LOSS: _class_mean(losses, labels),
        "expected_calibration_error": float("nan") if error is None else error,
    }


def truth_losses(probabilities: FloatArray, labels: IntArray) -> FloatArray:
    """Negative log probability of each picture's truth [N]."""
    truth = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.maximum(truth, _MIN_PROBABILITY))


def _class_mean(values: FloatArray, labels: IntArray) -> float:
    """Mean over the classes that occur of their pictures' mean."""
    return float(np.mean([values[labels == label].mean() for label in np.unique(labels)]))


def choose_ratios(
    predictions: Mapping[float, pa.Table], tasks: Sequence[str], margin: float = 0.0
) -> dict[str, float]:
    """The ratio whose added pictures are to count, per task; 0 where none helps.

    Args:
        predictions: Rows of `records.PREDICTIONS` of one seed and fold, per ratio; 0 is real
            pictures alone.
        tasks: The tasks.
        margin: How many standard errors better than real pictures alone a ratio must be.

    Returns:
        Per task the ratio with the least balanced log loss on validation; of equals the lower.
    """
    chosen = {}
    for task in tasks:
        tables = {ratio: _validation(table, task) for ratio, table in predictions.items()}
        losses = {ratio: _losses(table) for ratio, table in tables.items()}
        weights = _class_weights(tables[0.0])
        best, gain = 0.0, 0.0
        for ratio in sorted(losses.keys() - {0.0}):
            difference = losses[0.0] - losses[ratio]
            mean = float((weights * difference).sum())
            error = float(np.sqrt((weights**2 * (difference - mean) ** 2).sum()))
            if mean > margin * error and mean > gain + 1e-12:
                best, gain = ratio, mean
        chosen[task] = best
    return chosen


def _validation(table: pa.Table, task: str) -> pa.Table:
    """Labelled validation answers to a task, by picture."""
    wanted = pc.and_(
        pc.and_(pc.equal(table["split"], "validation"), pc.equal(table["task"], task)),
        pc.is_valid(table["truth"]),
    )
    return table.filter(wanted).sort_by("file_name")


def _losses(table: pa.Table) -> FloatArray:
    truth = table["probability_of_truth"].to_numpy()
    return truth_losses(truth[:, None], np.zeros(len(truth), dtype=np.int64))


def _class_weights(table: pa.Table) -> FloatArray:
    """Weights [N] that add to 1 and give every class that occurs the same."""
    _, index, counts = np.unique(
        table["truth"].to_numpy(zero_copy_only=False), return_inverse=True, return_counts=True
    )
    if len(counts) == 0:
        return np.zeros(0)
    return 1.0 / (len(counts) * counts[index])
