"""Checks of one picture: whether a classifier reads its planned labels, and visible defects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter


class Reason(StrEnum):
    """Why a picture is dropped."""

    MISREAD = "misread"
    COPY = "copy"
    REPEAT = "repeat"
    BLANK = "blank"
    NOISE = "noise"
    SATURATED = "saturated"


@dataclass(frozen=True)
class Reading:
    """A classifier's answer to one task, beside what was planned.

    Attributes:
        planned: The label that the picture was made for.
        planned_probability: The classifier's probability of it.
        read: The label that the classifier gives.
        probability: The probability of the label read.
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


_SIDE: Final = 128
_BACKGROUND: Final = 6.0  # sigma in pixels of what counts as smooth ground
_LUMA = np.asarray([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


@dataclass(frozen=True)
class DefectLimits:
    """Where a picture stops being one.

    Attributes:
        detail: Least deviation from a smooth ground, in grey levels (photographs: 6.2 or more).
        smoothness: Least correlation of neighbouring pixels (photographs: 0.67 or more).
        colourfulness: Greatest mean difference of a pixel's channels (photographs: 68 or less).
        clipped: Greatest share of pixels that are black, white or burnt (photographs: 0.68 or
            less).
    """

    detail: float = 3.0
    smoothness: float = 0.5
    colourfulness: float = 90.0
    clipped: float = 0.85


@dataclass(frozen=True)
class Tones:
    """What defects are judged by; see `DefectLimits`."""

    detail: float
    smoothness: float
    colourfulness: float
    clipped: float


def measure_tones(picture: npt.NDArray[np.uint8]) -> Tones:
    """Measure an RGB picture [H, W, 3] of any size."""
    lightest, darkest = picture.max(axis=2).astype(np.int16), picture.min(axis=2).astype(np.int16)
    white, black = darkest >= 253, lightest <= 2
    burnt = (lightest >= 250) & (darkest <= 5)
    small = Image.fromarray(picture).resize((_SIDE, _SIDE), Image.Resampling.BOX)
    grey = np.asarray(small, dtype=np.float32) @ _LUMA
    return Tones(
        detail=float((grey - gaussian_filter(grey, _BACKGROUND)).std()),
        smoothness=_neighbour_correlation(grey),
        colourfulness=float((lightest - darkest).mean()),
        clipped=float((white | black | burnt).mean()),
    )


def find_defects(tones: Tones, limits: DefectLimits) -> list[Reason]:
    """Everything that is wrong with a picture of these tones."""
    if tones.detail < limits.detail:
        return [Reason.BLANK]  # of an even ground the rest says nothing
    found = []
    if tones.smoothness < limits.smoothness:
        found.append(Reason.NOISE)
    if tones.colourfulness > limits.colourfulness or tones.clipped > limits.clipped:
        found.append(Reason.SATURATED)
    return found


def _neighbour_correlation(grey: npt.NDArray[np.float32]) -> float:
    centred = grey - grey.mean()
    products = (centred[:, 1:] * centred[:, :-1]).mean() + (centred[1:] * centred[:-1]).mean()
    return float(products / (2.0 * (centred * centred).mean() + 1e-6))
