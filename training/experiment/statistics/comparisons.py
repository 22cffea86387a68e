"""Which arms are compared with which, and in which family their p-values are corrected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from training.experiment.records import Arm

REAL: Final = "real"
OVERSAMPLE: Final = "oversample"
UNTUNED: Final = "untuned"
UNFILTERED: Final = "unfiltered"
MIX: Final = "mix"

CONTROLS: Final = (OVERSAMPLE, UNTUNED, UNFILTERED)
"""Arms without which a gain means nothing."""

Family = Literal["real", "control"]


@dataclass(frozen=True)
class Pair:
    """Two arms that are compared, and the family in which Holm's correction is applied.

    `real` answers "does it help?" for every arm and task; `control` answers "does anything
    cheaper do as well?" for synthetic pictures against copies, an untuned base and no filter.
    """

    arm: Arm
    reference: Arm
    family: Family


def pairs(arms: Sequence[Arm]) -> list[Pair]:
    """Every arm against `real`; synthetic ones against each control of the same ratio.

    An arm that chooses its ratio per task is held against the controls of every ratio.
    """
    real = next((arm for arm in arms if arm.kind == REAL), None)
    found = []
    for arm in arms:
        if arm.kind == REAL:
            continue
        if real is not None:
            found.append(Pair(arm, real, "real"))
        if arm.kind not in CONTROLS:
            found += [Pair(arm, control, "control") for control in controls_of(arm, arms)]
    return found


def controls_of(arm: Arm, arms: Sequence[Arm]) -> list[Arm]:
    """The controls with as many added pictures."""
    return [
        control
        for control in arms
        if control.kind in CONTROLS and (arm.ratio is None or control.ratio == arm.ratio)
    ]
