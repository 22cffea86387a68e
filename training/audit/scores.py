"""Which labels are probably wrong, and which blanks can be filled, from out-of-fold answers.

A label is suspicious where the picture and the piece's other labels together make another one
likelier: the logarithm of how many times likelier. Whether it is probably wrong is confident
learning's question: another label is at least as probable as it is, on average, for the pictures
that carry it. Source: Northcutt, Jiang, Chuang, Confident Learning (arXiv 1911.00068); Northcutt,
Athalye, Mueller, Pervasive Label Errors (arXiv 2103.14749).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from porcelain.dataset import Record
from porcelain.label_prior import Combination, KnownFacts, LabelPrior

FloatArray = npt.NDArray[np.float64]

LEAST_PROBABILITY: Final = 1e-9
FILL_CONFIDENCE: Final = 0.9
"""Confidence of a stated precision of filled blanks."""

FILL_THRESHOLDS: Final = tuple(round(0.99 - 0.01 * step, 2) for step in range(50))


@dataclass(frozen=True)
class Judgement:
    """What the picture and the other labels say of one label, or of a blank.

    Attributes:
        file_name: The picture.
        task: The task.
        label: What the collection says; None where it is blank.
        suggested: The likeliest other label; where it is blank the likeliest.
        label_probability: Of the label; None where it is blank.
        suggested_probability: Of the suggestion.
        suspicion: How much likelier the suggestion is, as a natural logarithm; above 0 the
            suggestion is the likelier one. 0 where it is blank.
        probably_wrong: Whether confident learning counts the label as wrong.
    """

    file_name: str
    task: str
    label: str | None
    suggested: str
    label_probability: float | None
    suggested_probability: float
    suspicion: float
    probably_wrong: bool = False


def judge(
    records: Sequence[Record],
    classes: Mapping[str, Sequence[str]],
    probabilities: Mapping[str, FloatArray],
    counted: Sequence[Combination],
) -> list[Judgement]:
    """Judge every label and blank of pictures that the model has not learned from.

    Args:
        records: The N pictures.
        classes: Labels per task in index order.
        probabilities: Per task, calibrated [N, classes].
        counted: Label combinations of what the model learned from.

    Returns:
        One judgement per picture and task of `classes`; a label that the model could not learn is
        left out, because nothing can be said of it.
    """
    strengths = {task: {other: 1.0 for other in classes if other != task} for task in classes}
    prior = LabelPrior(classes, KnownFacts(combinations=list(counted), strengths=strengths))
    judgements = []
    for task, names in classes.items():
        others = [
            {
                other: label
                for other in classes
                if other != task
                and (label := record.labels[other]) is not None
                and label in classes[other]
            }
            for record in records
        ]
        given = prior.condition({task: probabilities[task]}, others)[task]
        for record, row in zip(records, given, strict=True):
            label = record.labels[task]
            if label is None or label in names:
                judgements.append(_judge_one(record, task, label, names, row))
    return judgements


def _judge_one(
    record: Record, task: str, label: str | None, names: Sequence[str], row: FloatArray
) -> Judgement:
    row = np.maximum(row, LEAST_PROBABILITY)
    rest = row.copy()
    if label is None:
        best = int(rest.argmax())
        return Judgement(record.file_name, task, None, names[best], None, float(row[best]), 0.0)
    own = names.index(label)
    rest[own] = 0
    best = int(rest.argmax())
    return Judgement(
        record.file_name,
        task,
        label,
        names[best],
        float(row[own]),
        float(row[best]),
        float(np.log(row[best] / row[own])),
    )


def class_thresholds(judgements: Sequence[Judgement]) -> dict[tuple[str, str], float]:
    """Per task and label, the mean probability that its own pictures give it."""
    own: dict[tuple[str, str], list[float]] = {}
    for one in judgements:
        if one.label is not None and one.label_probability is not None:
            own.setdefault((one.task, one.label), []).append(one.label_probability)
    return {key: float(np.mean(values)) for key, values in own.items()}


def is_probably_wrong(one: Judgement, thresholds: Mapping[tuple[str, str], float]) -> bool:
    """Whether the suggestion is the likelier label and as probable as its own pictures make it."""
    usual = thresholds.get((one.task, one.suggested), 1.0)
    return one.label is not None and one.suspicion > 0 and one.suggested_probability >= usual


def fill_threshold(judgements: Sequence[Judgement], task: str, precision: float) -> float | None:
    """The least probability with which a blank may be filled, by the labels that are known.

    Thresholds are tried from the strictest down, and the last one before the first at which the
    precision's lower bound (Clopper and Pearson) fails is taken: fixed-sequence testing (Angelopoulos
    et al., Learn then Test, arXiv 2110.01052), so that the precision holds with the confidence
    `FILL_CONFIDENCE` for blanks that are like the known ones.

    Args:
        judgements: Of labels and blanks.
        task: The task.
        precision: Wanted share of right fillings.

    Returns:
        None where not even the strictest threshold is good enough.
    """  # noqa: E501 - a sentence with its source
    known = [one for one in judgements if one.task == task and one.label is not None]
    best = np.array([_best_probability(one) for one in known])
    right = np.array([one.suspicion < 0 for one in known], dtype=bool)
    chosen = None
    for threshold in FILL_THRESHOLDS:
        there = best >= threshold
        if not there.any():
            continue
        if lower_bound(int(right[there].sum()), int(there.sum())) < precision:
            break
        chosen = threshold
    return chosen


def _best_probability(one: Judgement) -> float:
    return max(one.suggested_probability, one.label_probability or 0.0)


def lower_bound(right: int, count: int) -> float:
    """The lower end of the one-sided Clopper-Pearson interval of a share."""
    return float(beta.ppf(1 - FILL_CONFIDENCE, right, count - right + 1)) if right else 0.0
