"""How large an effect a design can find, before it is run.

The variance of a paired difference has two parts (`crossed`): one that shrinks with seeds, and
one that only more objects shrink. Where all seeds have the same folds there is a third, which
neither shrinks: that of the training sets. They come from a pilot, that is any experiment with two
arms and two seeds, or, where there is none, from made-up experiments with the collection's own
class counts (`simulation`). The smallest gain that is found in 80 of 100 experiments then follows
from the noncentral t distribution, for a single comparison and for the first step of Holm's
correction, which is the hardest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy import optimize, stats

from porcelain.dataset import Dataset
from porcelain.errors import UserError
from porcelain.vocabulary import TASKS
from training.experiment.arms import REAL
from training.experiment.records import Results
from training.experiment.statistics.answers import read_answers
from training.experiment.statistics.crossed import Estimate, satterthwaite
from training.experiment.statistics.scoring import ScoredTask, score
from training.experiment.statistics.simulation import World, simulate

POWER: Final = 0.8
LEVEL: Final = 0.05

_DRAWS: Final = 200
_EXPERIMENTS: Final = 24
_SEEDS: Final = 6
_WORLD: Final = World((), effect=2.0, redrawn=0.05)
"""A gain of three to five points that is not the same for all objects."""


@dataclass(frozen=True)
class Variance:
    """Of a paired difference of F1-macro.

    Attributes:
        seed: Of a single seed, the objects held fixed.
        objects: Common to all seeds.
        object_degrees: Degrees of freedom of the latter.
        training_sets: Common to all seeds because they have the same folds.
    """

    seed: float
    objects: float
    object_degrees: float
    training_sets: float = 0.0


class Detectable(BaseModel):
    """The smallest gain that a design finds with 80 % probability, as a share of 1.

    Attributes:
        seeds: Repetitions.
        alone: As the only comparison.
        corrected: As the strongest of all comparisons, after Holm's correction.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seeds: int
    alone: float
    corrected: float


class TaskPower(BaseModel):
    """What an experiment on one task can find.

    Attributes:
        task: Its name.
        classes: That occur.
        smallest: Objects of the smallest class.
        objects: In all.
        detectable: For each number of seeds.
        floor: What infinitely many seeds would find, corrected: the limit that objects set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    classes: int
    smallest: int
    objects: int
    detectable: list[Detectable]
    floor: float


def objects_per_class(dataset: Dataset) -> dict[str, list[int]]:
    """Real objects of each class, by task, largest first; tasks without a label are left out."""
    counts = {}
    for task in TASKS:
        classes = {
            record.object_id or record.file_name: record.labels[task]
            for record in dataset.records
            if record.labels[task] is not None and not record.synthetic
        }
        if classes:
            counts[task] = sorted(Counter(classes.values()).values(), reverse=True)
    return counts


def simulated_variance(
    counts: Sequence[int], folds: int, seed: int = 0, *, fixed_folds: bool = False
) -> Variance:
    """From made-up experiments with these classes, in which pictures help moderately.

    Args:
        counts: Objects of each class.
        folds: Of the cross-validation.
        seed: Of the experiments.
        fixed_folds: Whether all seeds have the same folds.
    """
    rng = np.random.default_rng(seed)
    world = replace(_WORLD, counts=counts, fixed_folds=fixed_folds)
    # What fixed folds add shows only in how experiments differ, which takes more of them.
    experiments = (3 if fixed_folds else 1) * _EXPERIMENTS
    found = [
        _difference(score(simulate(world, _SEEDS, folds, rng), _DRAWS, i), "mix-90-10")
        for i in range(experiments)
    ]
    variance = _mean_variance([(estimate, _SEEDS) for estimate in found])
    if not fixed_folds:
        return variance
    seen = variance.seed / _SEEDS + variance.objects
    unseen = float(np.var([estimate.value for estimate in found], ddof=1)) - seen
    return replace(variance, training_sets=max(unseen, 0.0))


def pilot_variance(results: Results) -> dict[str, tuple[list[int], Variance]]:
    """Per task the objects of each class and the variance, from an experiment that was run.

    Raises:
        UserError: It has no arm beside `real`, or not two seeds that both have.
    """
    found = {}
    for task, answers in read_answers(results).items():
        scored = score(answers, 1000, 0)
        pairs = []
        for arm in scored.arms:
            seeds = len(scored.common(arm, REAL)) if arm != REAL else 0
            if seeds > 1:
                pairs.append((_difference(scored, arm), seeds))
        if not pairs:
            raise UserError(
                "The pilot needs `real` and another arm with two whole seeds each; run more of "
                "it, or leave out --pilot."
            )
        objects = answers.objects_per_class
        counts = sorted((int(count) for count in objects if count), reverse=True)
        found[task] = (counts, _mean_variance(pairs))
    return found


def task_power(
    task: str, counts: Sequence[int], variance: Variance, seeds: Sequence[int], comparisons: int
) -> TaskPower:
    """The smallest gains that designs of different numbers of seeds find.

    Args:
        task: Its name.
        counts: Objects of each class.
        variance: Of a paired difference.
        seeds: Numbers of repetitions, each at least 2.
        comparisons: How many are corrected together.
    """
    return TaskPower(
        task=task,
        classes=len(counts),
        smallest=min(counts),
        objects=sum(counts),
        detectable=[
            Detectable(
                seeds=number,
                alone=detectable(variance, number, LEVEL),
                corrected=detectable(variance, number, LEVEL / comparisons),
            )
            for number in seeds
        ],
        floor=detectable(variance, 100_000, LEVEL / comparisons),
    )


def detectable(variance: Variance, seeds: int, level: float) -> float:
    """The smallest difference that a two-sided t-test of this level finds with 80 % probability."""
    of_seeds, lasting = variance.seed / seeds, variance.objects + variance.training_sets
    degrees = satterthwaite(of_seeds, seeds - 1, lasting, variance.object_degrees)
    bound = float(stats.t.ppf(1.0 - level / 2.0, degrees))

    def lacking(effect: float) -> float:
        return float(stats.nct.sf(bound, degrees, effect)) - POWER

    # In standard errors; the noncentral t is near t + effect, so that this brackets the root.
    effect = optimize.brentq(lacking, 0.0, 3.0 * bound + 10.0)
    return float(effect) * float(np.sqrt(of_seeds + lasting))


def _difference(scored: ScoredTask, arm: str) -> Estimate:
    estimate = scored.difference(arm, REAL, scored.macro)
    if estimate is None:
        raise ValueError(f"{arm} and {REAL} have no seed in common.")
    return estimate


def _mean_variance(pairs: Sequence[tuple[Estimate, int]]) -> Variance:
    return Variance(
        seed=float(np.mean([estimate.from_seeds * seeds for estimate, seeds in pairs])),
        objects=float(np.mean([estimate.from_objects for estimate, _ in pairs])),
        object_degrees=float(np.median([estimate.object_degrees for estimate, _ in pairs])),
    )


def plan(
    variances: Mapping[str, tuple[Sequence[int], Variance]], seeds: Sequence[int], arms: int
) -> list[TaskPower]:
    """What an experiment of several arms beside `real` can find, task by task."""
    comparisons = max(1, arms * len(variances))
    return [
        task_power(task, counts, variance, seeds, comparisons)
        for task, (counts, variance) in variances.items()
    ]
