"""Every arm's scores of one task, plain and under draws of the objects, ready to be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.experiment.statistics.answers import FloatArray, IntArray, TaskAnswers, paired
from training.experiment.statistics.calibration import calibration_errors
from training.experiment.statistics.crossed import Estimate, crossed_mean
from training.experiment.statistics.resampling import object_draws
from training.experiment.statistics.results import Measure
from training.experiment.statistics.scores import class_f1, macro_weights


@dataclass(frozen=True)
class ScoredArm:
    """Scores of one arm.

    Attributes:
        seeds: The S repetitions.
        f1: Per seed and class [S, C].
        f1_draws: The same under B draws [S, B, C].
        error: Expected calibration error [S, 1].
        error_draws: The same under the draws [S, B, 1].
    """

    seeds: tuple[int, ...]
    f1: FloatArray
    f1_draws: FloatArray
    error: FloatArray
    error_draws: FloatArray

    def rows(self, seeds: Sequence[int]) -> list[int]:
        """The rows of some seeds."""
        return [self.seeds.index(seed) for seed in seeds]


@dataclass(frozen=True)
class ScoredTask:
    """All arms of one task under the same draws of the objects."""

    answers: TaskAnswers
    arms: dict[str, ScoredArm]

    @property
    def macro(self) -> FloatArray:
        """The classes' weights in F1-macro [C]."""
        return macro_weights(self.answers.occurring)

    def mean(self, arm: str, weights: FloatArray) -> Estimate:
        """An arm's mean over seeds of a weighted mean of class F1."""
        scored = self.arms[arm]
        return crossed_mean(scored.f1, scored.f1_draws, weights, self.answers.objects_per_class)

    def difference(self, arm: str, reference: str, weights: FloatArray) -> Estimate | None:
        """The same for the difference of two arms, paired by seed; None without a common seed."""
        seeds = self.common(arm, reference)
        if not seeds:
            return None
        first, second = self.arms[arm], self.arms[reference]
        ours, theirs = first.rows(seeds), second.rows(seeds)
        return crossed_mean(
            first.f1[ours] - second.f1[theirs],
            first.f1_draws[ours] - second.f1_draws[theirs],
            weights,
            self.answers.objects_per_class,
        )

    def calibration(self, arm: str, reference: str | None = None) -> Estimate:
        """An arm's calibration error, or its difference to another's in common seeds."""
        first = self.arms[arm]
        values, draws = first.error, first.error_draws
        if reference is not None:
            seeds = self.common(arm, reference)
            second = self.arms[reference]
            ours, theirs = first.rows(seeds), second.rows(seeds)
            values = values[ours] - second.error[theirs]
            draws = draws[ours] - second.error_draws[theirs]
        return crossed_mean(values, draws, np.ones(1), self.all_objects)

    def common(self, arm: str, reference: str) -> tuple[int, ...]:
        """The seeds that both arms have done."""
        pair = paired(self.answers, arm, reference)
        return () if pair is None else pair[0].seeds

    @property
    def all_objects(self) -> IntArray:
        """Their number, as one stratum [1]."""
        return np.asarray([len(self.answers.strata)])


def score(answers: TaskAnswers, draws: int, seed: int) -> ScoredTask:
    """Score every arm plainly and under draws of the objects.

    Args:
        answers: Of one task.
        draws: Of the objects.
        seed: Of the draws.
    """
    weights = object_draws(answers.strata, draws, seed)
    plain = np.ones((1, len(answers.strata)))
    classes = len(answers.labels)
    arms = {}
    for name, arm in answers.arms.items():
        once, drawn = (
            class_f1(answers.truth, arm.predicted, answers.objects, w, classes)
            for w in (plain, weights)
        )
        error, error_drawn = (
            calibration_errors(arm, answers.truth, answers.objects, w) for w in (plain, weights)
        )
        arms[name] = ScoredArm(arm.seeds, once[:, 0], drawn, error, error_drawn[:, :, None])
    return ScoredTask(answers, arms)


def measure(estimate: Estimate) -> Measure:
    """An estimate as the report keeps it."""
    return Measure(
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        standard_error=estimate.standard_error,
        degrees=estimate.degrees,
    )
