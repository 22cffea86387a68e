"""Whether a classifier reads the labels that a picture was made for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Reading:
    """A classifier's answer to one task, beside what was planned.

    Attributes:
        planned: The label that the picture was made for.
        planned_probability: The classifier's probability of it.
        read: The label that the classifier gives.
        probability: Its probability.
    """

    planned: str
    planned_probability: float
    read: str
    probability: float

    def agrees(self, threshold: float) -> bool:
        """Whether the planned label has at least the probability `threshold`; 0 passes any.

        From one half on it is then the label read. Below, another may be more probable: rare kinds
        are seldom a classifier's first answer, which is why pictures of them are made.
        """
        return self.planned_probability >= threshold


def read_labels(
    planned: Mapping[str, str],
    probabilities: Mapping[str, npt.NDArray[np.floating]],
    classes: Mapping[str, Sequence[str]],
) -> dict[str, Reading]:
    """Hold one picture's probabilities against its planned labels.

    Args:
        planned: Label per task that the picture was made for.
        probabilities: Per task, [classes].
        classes: The classifier's labels per task, in index order.

    Returns:
        A reading per task, save those that have no planned label or one that the classifier was
        never taught: it cannot read it, which says nothing of the picture.
    """
    readings = {}
    for task, label in planned.items():
        labels = list(classes.get(task, ()))
        if label not in labels:
            continue
        row = probabilities[task]
        best = int(row.argmax())
        readings[task] = Reading(
            label, float(row[labels.index(label)]), labels[best], float(row[best])
        )
    return readings


def misread_tasks(
    readings: Mapping[str, Reading], thresholds: Mapping[str, float]
) -> tuple[str, ...]:
    """The tasks whose planned label is not read surely enough."""
    return tuple(task for task, item in readings.items() if not item.agrees(thresholds[task]))
