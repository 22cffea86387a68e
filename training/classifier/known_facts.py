"""What a bundle keeps to use facts: combinations, strengths and calibration, chosen by measuring.

The method is `porcelain.label_prior`'s; `benchmarks/known_facts.py` measures it on five folds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from porcelain.dataset import Record
from porcelain.label_prior import Combination, FactCalibration, KnownFacts, LabelPrior
from training.classifier.calibration import LEAST_PICTURES, abstention_threshold

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Classes = Mapping[str, Sequence[str]]

STRENGTHS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
UNMEASURED_STRENGTH: Final = 0.5
"""Of every pair of tasks that too few validation pictures have both labels of."""

MOST_CALIBRATED: Final = 3
"""Known tasks at once that are calibrated for; more of them use a subset's calibration."""

TEMPERATURE_SPREAD: Final = 0.25
"""Standard deviation of log temperature in its prior. With facts hardly any validation answer is
wrong, and the likeliest temperature of a hundred right answers is far too low: on five folds it
took kiln's log loss with dynasty and glaze known from -61 % to -52 %; with this prior, to -60 %."""

Strengths = dict[str, dict[str, float]]


def count_combinations(records: Iterable[Record], classes: Classes) -> list[Combination]:
    """The label combinations of real photographs, the most frequent first.

    Args:
        records: The pictures that the model learned from; synthetic ones are left out.
        classes: Labels per task; tasks and labels beside them are left out.
    """
    counts = Counter(
        tuple(
            (task, label)
            for task, names in classes.items()
            if (label := record.labels.get(task)) is not None and label in names
        )
        for record in records
        if not record.synthetic
    )
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [Combination(labels=dict(labels), count=count) for labels, count in ordered if labels]


def fit_known_facts(
    classes: Classes,
    learned: Sequence[Record],
    served: Sequence[Record] | None,
    probabilities: Mapping[str, FloatArray],
    labels: Mapping[str, IntArray],
    selective_accuracy: float,
) -> KnownFacts | None:
    """Count combinations, choose strengths and calibrate the answers that rest on facts.

    Args:
        classes: Labels per task in index order.
        learned: What the measured model learned from.
        served: What the served model learned from, where it is another.
        probabilities: The measured model's calibrated answers about validation pictures, per task
            [N, classes].
        labels: Their class indices, per task [N]; -1 where unknown.
        selective_accuracy: Accuracy wanted of the answers that are not abstained from.

    Returns:
        None where no real photograph has a label.
    """
    counted = count_combinations(learned, classes)
    if not counted:
        return None
    strengths = choose_strengths(classes, counted, probabilities, labels)
    measured = KnownFacts(combinations=counted, strengths=strengths)
    calibrations = calibrate(classes, measured, probabilities, labels, selective_accuracy)
    final = counted if served is None else count_combinations(served, classes)
    return KnownFacts(
        combinations=final,
        held_out_combinations=[] if served is None else counted,
        strengths=strengths,
        calibrations=calibrations,
    )


def choose_strengths(
    classes: Classes,
    counted: Sequence[Combination],
    probabilities: Mapping[str, FloatArray],
    labels: Mapping[str, IntArray],
) -> Strengths:
    """How much each task's label counts for each other task, by validation log loss.

    The smallest strength whose loss is within one standard error of the best (the
    one-standard-error rule; Breiman et al., Classification and Regression Trees, 1984): a fact
    that does not clearly help is not used.
    """
    strengths: Strengths = {task: {} for task in classes}
    for task in classes:
        for known in classes:
            if known == task:
                continue
            both = (labels[task] >= 0) & (labels[known] >= 0)
            if both.sum() < LEAST_PICTURES:
                strengths[task][known] = UNMEASURED_STRENGTH
                continue
            losses = {}
            for strength in STRENGTHS:
                facts = KnownFacts(combinations=list(counted), strengths={task: {known: strength}})
                answer = _given(classes, facts, task, (known,), probabilities, labels, both)
                losses[strength] = _losses(answer, labels[task][both])
            strengths[task][known] = _simplest(losses)
    return strengths


def calibrate(
    classes: Classes,
    facts: KnownFacts,
    probabilities: Mapping[str, FloatArray],
    labels: Mapping[str, IntArray],
    selective_accuracy: float,
) -> list[FactCalibration]:
    """Temperatures and abstention thresholds per set of known tasks, on validation pictures."""
    calibrations = []
    for size in range(1, min(MOST_CALIBRATED, len(classes) - 1) + 1):
        for known in combinations(classes, size):
            there = np.all([labels[task] >= 0 for task in known], axis=0)
            temperatures, thresholds, caveats = {}, {}, {}
            for task in classes:
                if task in known or (labels[task][there] >= 0).sum() < LEAST_PICTURES:
                    continue
                answer = _given(classes, facts, task, known, probabilities, labels, there)
                logarithms = np.log(answer)
                temperature = shrunk_temperature(logarithms, labels[task][there])
                scaled = np.exp(logarithms / temperature)
                scaled /= scaled.sum(axis=1, keepdims=True)
                temperatures[task] = temperature
                found = abstention_threshold(scaled, labels[task][there], selective_accuracy)
                thresholds[task] = found.threshold
                if found.caveat is not None:
                    caveats[task] = found.caveat
            if temperatures:
                calibrations.append(
                    FactCalibration(
                        known=list(known),
                        temperatures=temperatures,
                        abstention_thresholds=thresholds,
                        abstention_caveats=caveats,
                    )
                )
    return calibrations


def shrunk_temperature(logits: FloatArray, labels: IntArray) -> float:
    """The softmax temperature that is likeliest, given that it is probably near 1.

    Args:
        logits: [N, classes]; of probabilities that are calibrated without facts, so that 1 is
            where to begin from.
        labels: Class indices [N]; -1 is unknown and left out.
    """
    there = labels >= 0
    logits, labels = logits[there], labels[there]
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        prior = (log_temperature / TEMPERATURE_SPREAD) ** 2 / 2
        return float(prior - scaled[rows, labels].sum())

    result = minimize_scalar(loss, bounds=(np.log(0.25), np.log(4.0)), method="bounded")
    return float(np.exp(result.x))


def _given(
    classes: Classes,
    facts: KnownFacts,
    task: str,
    known: Sequence[str],
    probabilities: Mapping[str, FloatArray],
    labels: Mapping[str, IntArray],
    rows: npt.NDArray[np.bool_],
) -> FloatArray:
    """A task's uncalibrated probabilities [rows, classes], the labels of `known` being facts."""
    prior = LabelPrior(classes, facts)
    given = [
        {other: classes[other][labels[other][row]] for other in known}
        for row in np.flatnonzero(rows)
    ]
    return prior.condition({task: probabilities[task][rows]}, given, calibrated=False)[task]


def _losses(probabilities: FloatArray, labels: IntArray) -> FloatArray:
    losses: FloatArray = -np.log(probabilities[np.arange(len(labels)), labels])
    return losses


def _simplest(losses: Mapping[float, FloatArray]) -> float:
    best = min(losses, key=lambda strength: losses[strength].mean())
    for strength in sorted(losses):
        more = losses[strength] - losses[best]
        if more.mean() <= more.std() / np.sqrt(len(more)):
            return strength
    return best
