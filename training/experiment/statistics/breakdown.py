"""Where a difference comes from: its classes, rare ones apart, and the pictures that turned."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from training.experiment.statistics.answers import (
    ArmAnswers,
    FloatArray,
    IntArray,
    TaskAnswers,
    paired,
)
from training.experiment.statistics.results import (
    ChangedPicture,
    Changes,
    ClassGain,
    GroupGain,
    Measure,
)
from training.experiment.statistics.scoring import ScoredTask, measure

_TURNED = 0.5
"""Share of the seeds by which a picture must change to count as turned."""

_NAMED = 0.25
"""Share of the seeds by which a picture must change to be shown."""

_SWAPS = 200


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


def changes(answers: TaskAnswers, arm: str, reference: str, most: int, seed: int) -> Changes | None:
    """Count and name the pictures that turned.

    Args:
        answers: Of one task.
        arm: The arm.
        reference: What it is compared with.
        most: Pictures to name each way.
        seed: Of the swaps that tell how many to expect by chance.
    """
    pair = paired(answers, arm, reference)
    if pair is None:
        return None
    ours, theirs = pair
    right, before = ours.predicted == answers.truth, theirs.predicted == answers.truth
    signs = right.astype(np.float64) - before
    change = signs.mean(axis=0)
    order = np.argsort(-change, kind="stable")
    up = [int(i) for i in order if change[i] >= _NAMED][:most]
    down = [int(i) for i in order[::-1] if change[i] <= -_NAMED][:most]

    def named(chosen: list[int]) -> list[ChangedPicture]:
        return [_picture(answers, ours, theirs, i) for i in chosen]

    return Changes(
        arm=arm,
        gained=int((change >= _TURNED).sum()),
        lost=int((change <= -_TURNED).sum()),
        expected=_expected(signs, ours.folds, seed),
        better=named(up),
        worse=named(down),
    )


def _expected(signs: npt.NDArray[np.float64], folds: IntArray, seed: int) -> float:
    """Mean number that turn one way when the arms of each seed and fold are swapped by chance."""
    rng = np.random.default_rng(seed)
    moved = np.abs(signs).sum(axis=0) > 0
    signs, folds = signs[:, moved], folds[:, moved]
    if not signs.size:
        return 0.0
    seeds = np.arange(len(signs))[:, None]
    turned = 0
    for _ in range(_SWAPS):
        swapped = rng.choice((-1.0, 1.0), size=(len(signs), int(folds.max()) + 1))
        change = (signs * swapped[seeds, folds]).mean(axis=0)
        turned += int((np.abs(change) >= _TURNED).sum())
    return turned / (2.0 * _SWAPS)


def _picture(answers: TaskAnswers, ours: ArmAnswers, theirs: ArmAnswers, i: int) -> ChangedPicture:
    truth = int(answers.truth[i])
    return ChangedPicture(
        file_name=answers.file_names[i],
        truth=answers.labels[truth],
        real_answer=answers.labels[_most_frequent(theirs.predicted[:, i])],
        arm_answer=answers.labels[_most_frequent(ours.predicted[:, i])],
        real_right=float((theirs.predicted[:, i] == truth).mean()),
        arm_right=float((ours.predicted[:, i] == truth).mean()),
    )


def _most_frequent(values: IntArray) -> int:
    return int(np.bincount(values).argmax())
