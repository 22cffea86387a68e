"""Do the rare kinds gain? Class by class, and the rare classes together against the others."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from training.experiment.statistics.answers import FloatArray, IntArray
from training.experiment.statistics.results import ClassGain, GroupGain, Measure
from training.experiment.statistics.scoring import ScoredTask, measure


def rare_classes(occurring: IntArray) -> npt.NDArray[np.bool_]:
    """Which classes have fewer pictures than half an even share [C]; absent ones are not rare."""
    present = occurring > 0
    share = occurring.sum() / max(int(present.sum()), 1)
    rare: npt.NDArray[np.bool_] = present & (occurring < share / 2.0)
    return rare


def class_gains(scored: ScoredTask, real: str) -> list[ClassGain]:
    """Every class that occurs, rarest first."""
    answers = scored.answers
    occurring, objects = answers.occurring, answers.objects_per_class
    rare = rare_classes(occurring)
    order = sorted(np.flatnonzero(occurring), key=lambda c: (occurring[c], answers.labels[c]))
    return [
        ClassGain(
            label=answers.labels[c],
            pictures=int(occurring[c]),
            objects=int(objects[c]),
            rare=bool(rare[c]),
            real=scored.mean(real, _only(int(c), len(occurring))).value,
            gains=_gains(scored, real, _only(int(c), len(occurring))),
        )
        for c in order
    ]


def group_gains(scored: ScoredTask, real: str) -> list[GroupGain]:
    """The rare classes and the others, where there are both."""
    occurring = scored.answers.occurring
    rare = rare_classes(occurring)
    members = {"rare": rare, "other": (occurring > 0) & ~rare}
    if not all(chosen.any() for chosen in members.values()):
        return []
    names: tuple[Literal["rare", "other"], ...] = ("rare", "other")
    return [
        GroupGain(
            name=name,
            classes=int(members[name].sum()),
            pictures=int(occurring[members[name]].sum()),
            real=measure(scored.mean(real, members[name] / members[name].sum())),
            gains=_gains(scored, real, members[name] / members[name].sum()),
        )
        for name in names
    ]


def _gains(scored: ScoredTask, real: str, weights: FloatArray) -> dict[str, Measure]:
    found = {arm: scored.difference(arm, real, weights) for arm in scored.arms if arm != real}
    return {arm: measure(estimate) for arm, estimate in found.items() if estimate is not None}


def _only(index: int, size: int) -> FloatArray:
    weights: FloatArray = np.eye(size)[index]
    return weights
