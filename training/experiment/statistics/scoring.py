"""Every arm's scores of one task, plain and under draws of the objects, ready to be compared.

F1-macro here is the mean over the classes that occur among the tested pictures, so that every arm
is averaged over the same classes; an answer that names any other class is a mistake.

Objects are drawn as `classifier evaluate` draws them for the same score
(`training.classifier.evaluation.bootstrap.smoothed_draws`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.classifier.evaluation.bootstrap import choose_stand_ins, class_totals, smoothed_draws
from training.classifier.evaluation.reliability import BINS
from training.experiment.statistics.answers import (
    ArmAnswers,
    FloatArray,
    IntArray,
    TaskAnswers,
    paired,
)
from training.experiment.statistics.crossed import Estimate, crossed_mean
from training.experiment.statistics.results import Measure


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
    # The only object of a class was not learned from when it was tested: nothing stands in for it.
    borrowing = answers.objects_per_class > 1
    stand_ins = choose_stand_ins(answers.strata, answers.objects, borrowing, seed)
    weights = smoothed_draws(stand_ins, draws, seed)
    plain = np.ones((1, len(answers.strata)))
    objects, truth = (
        stand_ins.extend_objects(answers.objects),
        stand_ins.extend_labels(answers.truth),
    )
    arms = {}
    for name, arm in answers.arms.items():
        once = class_f1(answers.truth, arm.predicted, answers.objects, plain, len(answers.labels))
        error = calibration_errors(arm, answers.truth, answers.objects, plain)
        extended = replace(
            arm,
            predicted=stand_ins.extend_labels(arm.predicted),
            confidence=stand_ins.extend(arm.confidence),
        )
        drawn = class_f1(truth, extended.predicted, objects, weights, len(answers.labels))
        error_drawn = calibration_errors(extended, truth, objects, weights)
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


def class_f1(
    truth: IntArray, predicted: IntArray, objects: IntArray, weights: FloatArray, classes: int
) -> FloatArray:
    """F1 per seed, weighting and class, the folds of a seed pooled.

    Args:
        truth: Class indices [N].
        predicted: Class indices [S, N].
        objects: Object of each picture [N].
        weights: Weight of each object in W weightings [W, G]. All ones is the plain score.
        classes: Their number C.

    Returns:
        [S, W, C]; 0 for a class that neither occurs nor is predicted.
    """
    occurring, answered, correct = class_totals(truth, predicted, objects, weights, classes)
    both = occurring + answered
    f1 = np.zeros(both.shape)
    np.divide(2.0 * correct, both, out=f1, where=both > 0)
    return f1


def macro_weights(occurring: IntArray) -> FloatArray:
    """The weight of each class in F1-macro [C]: equal where it occurs, else 0."""
    present = occurring > 0
    return present / max(int(present.sum()), 1)


def contributions(
    truth: IntArray,
    first: IntArray,
    second: IntArray,
    objects: IntArray,
    class_weights: FloatArray,
) -> FloatArray:
    """What each object adds to the difference of two arms in a weighted mean of class F1.

    With t hits among d = occurring + predicted pictures F1 is 2t/d. Linearised at the midpoint of
    both arms, the difference is a sum over pictures. The midpoint stays where it is when the arms
    are swapped, for all pictures or for some: a swap only turns the sign of a contribution, which
    is what makes the permutation test (`permutation.swap_test`) exact and fast.

    Args:
        truth: Class indices [N].
        first: Answers of one arm [S, N].
        second: Answers of the other [S, N].
        objects: Object of each picture [N].
        class_weights: Weight of each class [C].

    Returns:
        [S, G]; each row sums to the linearised difference of that seed.
    """
    classes = len(class_weights)
    occurring = np.bincount(truth, minlength=classes)
    hits = (_count(truth, first, classes) + _count(truth, second, classes)) / 2.0
    answered = (_count(first, first, classes) + _count(second, second, classes)) / 2.0
    both = np.maximum(occurring + answered, 1.0)
    per_hit = 2.0 * class_weights / both
    per_answer = per_hit * hits / both
    seed = np.arange(len(first))[:, None]
    right = (first == truth).astype(np.float64) - (second == truth)
    values = right * per_hit[:, truth] - per_answer[seed, first] + per_answer[seed, second]
    size = int(objects.max(initial=-1)) + 1
    cells = seed * size + objects
    sums = np.bincount(cells.ravel(), values.ravel(), len(first) * size)
    return sums.reshape(len(first), size).astype(np.float64)


def _count(truth: IntArray, predicted: IntArray, classes: int) -> FloatArray:
    """Pictures per seed and class [S, C] on which `predicted` equals `truth`."""
    equal = predicted == truth
    cells = np.arange(len(predicted))[:, None] * classes + predicted
    counts = np.bincount(cells[equal], minlength=len(predicted) * classes)
    return counts.reshape(len(predicted), classes).astype(np.float64)


def calibration_errors(
    answers: ArmAnswers, truth: IntArray, objects: IntArray, weights: FloatArray
) -> FloatArray:
    """Mean gap between confidence and accuracy, as `reliability.calibration_error` measures it.

    Args:
        answers: Of one arm.
        truth: Class indices [N].
        objects: Object of each picture [N].
        weights: Weight of each object in W weightings [W, G].

    Returns:
        [S, W], the folds of a seed pooled.
    """
    gaps = answers.confidence - (answers.predicted == truth)
    index = np.minimum((answers.confidence * BINS).astype(np.int64), BINS - 1)
    pictures = weights @ np.bincount(objects, minlength=weights.shape[1])
    errors = []
    for bins, gap in zip(index, gaps, strict=True):
        table = np.bincount(objects * BINS + bins, gap, weights.shape[1] * BINS)
        errors.append(np.abs(weights @ table.reshape(-1, BINS)).sum(axis=1) / pictures)
    return np.asarray(errors)
