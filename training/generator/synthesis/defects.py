"""Pictures that are none: blank, noise, or with colours burnt out.

Blank is what a numerical fault leaves, noise what too few steps leave, burnt colours what too much
guidance does. The limits stand well outside of what 1,030 museum photographs and 900 rendered
pictures measured, given with each.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter

_SIDE: Final = 128
_BACKGROUND: Final = 6.0  # sigma in pixels of what counts as smooth ground
_LUMA = np.asarray([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


class Defect(StrEnum):
    """What may be wrong with a picture whatever it is meant to show."""

    BLANK = "blank"
    NOISE = "noise"
    SATURATED = "saturated"


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


def find_defects(tones: Tones, limits: DefectLimits) -> list[Defect]:
    """Everything that is wrong with a picture of these tones."""
    if tones.detail < limits.detail:
        return [Defect.BLANK]  # of an even ground the rest says nothing
    found = []
    if tones.smoothness < limits.smoothness:
        found.append(Defect.NOISE)
    if tones.colourfulness > limits.colourfulness or tones.clipped > limits.clipped:
        found.append(Defect.SATURATED)
    return found


def _neighbour_correlation(grey: npt.NDArray[np.float32]) -> float:
    centred = grey - grey.mean()
    products = (centred[:, 1:] * centred[:, :-1]).mean() + (centred[1:] * centred[:-1]).mean()
    return float(products / (2.0 * (centred * centred).mean() + 1e-6))
