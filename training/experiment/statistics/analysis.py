"""From an experiment's answers to its report: all numbers, no drawing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from training.experiment.arms import MIX, REAL, Family, Pair, pairs
from training.experiment.records import Arm, Experiment, Results
from training.experiment.statistics.answers import TaskAnswers, paired, read_answers
from training.experiment.statistics.breakdown import changes, class_gains, group_gains
from training.experiment.statistics.permutation import (
    DEFAULT_SWAPS,
    EXACT_RUNS,
    holm,
    smallest_p,
    swap_test,
)
from training.experiment.statistics.recommendation import recommend
from training.experiment.statistics.results import (
    LEVEL,
    ArmResult,
    Changes,
    Comparison,
    ExperimentReport,
    PaperFigure,
    TaskResult,
)
from training.experiment.statistics.scoring import ScoredTask, contributions, measure, score

FAMILIES: Final[tuple[Family, ...]] = ("real", "control")


PAPER: Final = {
    "dynasty": (0.03, 0.04, "3 to 4 points more"),
    "glaze": (None, None, "no gain"),
    "kiln": (0.03, 0.04, "3 to 4 points more"),
    "type": (0.055, 0.055, "5.5 points more"),
}
"""F1-macro at 90:10 against real pictures alone, as arXiv 2601.14791 reports it."""

PAPER_ARM: Final = Arm(kind=MIX, ratio=10.0).name


class AnalysisSettings(BaseModel):
    """How much is resampled.

    Attributes:
        draws: Of the objects, for intervals.
        swaps: Of training runs, for p-values, where there are too many runs to try all.
        shown: Pictures named per task and arm that turned right, and wrong.
        seed: Of all that is drawn.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    draws: int = Field(default=2000, ge=100)
    swaps: int = Field(default=DEFAULT_SWAPS, ge=99)
    shown: int = Field(default=12, ge=0)
    seed: int = Field(default=0, ge=0)


def analyse(
    results: Results,
    settings: AnalysisSettings | None = None,
    on_progress: Callable[[int, int, str], None] | None = None,
) -> ExperimentReport:
    """Everything that the report says.

    Args:
        results: The experiment, all shards together.
        settings: How much is resampled.
        on_progress: Called with tasks done, in all, and the name of the next.

    Raises:
        UserError: No arm has one repetition with all its folds.
        DatasetError: The answers do not fit the experiment.
    """
    settings = settings or AnalysisSettings()
    experiment = results.experiment
    answers = read_answers(results)
    scored, compared = compare(answers, experiment.arms, settings, on_progress)
    tasks = {
        task: _task_result(scored[task], compared[task], experiment, settings) for task in answers
    }
    counts: dict[Family, int] = {
        family: sum(
            c.family == family and c.p is not None for found in compared.values() for c in found
        )
        for family in FAMILIES
    }
    return ExperimentReport(
        data=experiment.data,
        digest=experiment.digests.get("data", ""),
        created_by=experiment.created_by,
        backbone=_backbone(experiment),
        seeds=len(experiment.seeds),
        folds=experiment.folds,
        units=len(results.units),
        missing=len(results.missing),
        pictures=sum(picture.tested for picture in experiment.pictures),
        untested=sum(not picture.tested for picture in experiment.pictures),
        draws=settings.draws,
        swaps=settings.swaps,
        comparisons=counts,
        tasks=tasks,
        paper=beside_the_paper(tasks),
        notes=reader_notes(results, answers, max(counts.values()), settings.swaps),
    )


def compare(
    answers: dict[str, TaskAnswers],
    arms: Sequence[Arm],
    settings: AnalysisSettings,
    on_progress: Callable[[int, int, str], None] | None = None,
) -> tuple[dict[str, ScoredTask], dict[str, list[Comparison]]]:
    """Score every task and compare its arms, p-values corrected over all tasks."""
    compared, scored = {}, {}
    for done, (task, found) in enumerate(answers.items()):
        if on_progress:
            on_progress(done, len(answers), task)
        scored[task] = score(found, settings.draws, settings.seed)
        compared[task] = _compare(scored[task], pairs(arms), settings)
    if on_progress:
        on_progress(len(answers), len(answers), "")
    return scored, correct(compared)


def correct(compared: dict[str, list[Comparison]]) -> dict[str, list[Comparison]]:
    """Holm's correction within each family, over all tasks."""
    adjusted: dict[tuple[str, int], float] = {}
    for family in FAMILIES:
        places = [
            (task, i, c.p)
            for task, found in compared.items()
            for i, c in enumerate(found)
            if c.family == family and c.p is not None
        ]
        values = holm([p for _, _, p in places])
        adjusted |= {(task, i): v for (task, i, _), v in zip(places, values, strict=True)}
    return {
        task: [
            c.model_copy(update={"p_holm": adjusted.get((task, i))}) for i, c in enumerate(found)
        ]
        for task, found in compared.items()
    }


def _compare(
    scored: ScoredTask, compared: list[Pair], settings: AnalysisSettings
) -> list[Comparison]:
    answers, found = scored.answers, []
    for number, pair in enumerate(compared):
        arm, reference = pair.arm.name, pair.reference.name
        both = paired(answers, arm, reference)
        estimate = scored.difference(arm, reference, scored.macro)
        if both is None or estimate is None:
            continue
        ours, theirs = both
        parts = contributions(
            answers.truth, ours.predicted, theirs.predicted, answers.objects, scored.macro
        )
        folds = np.zeros(parts.shape, dtype=np.int64)
        folds[:, answers.objects] = ours.folds
        first, second = scored.arms[arm], scored.arms[reference]
        values = first.f1[first.rows(ours.seeds)] - second.f1[second.rows(ours.seeds)]
        found.append(
            Comparison(
                arm=arm,
                reference=reference,
                family=pair.family,
                seeds=len(ours.seeds),
                f1_macro=measure(estimate),
                per_seed=[float(value) for value in values @ scored.macro],
                p=swap_test(
                    parts,
                    folds,
                    answers.strata,
                    swaps=settings.swaps,
                    seed=settings.seed + number,
                ),
                calibration=measure(scored.calibration(arm, reference)),
            )
        )
    return found


def _task_result(
    scored: ScoredTask,
    compared: list[Comparison],
    experiment: Experiment,
    settings: AnalysisSettings,
) -> TaskResult:
    answers = scored.answers
    measured = REAL in scored.arms
    return TaskResult(
        task=answers.task,
        pictures=len(answers.truth),
        objects=len(answers.strata),
        arms=[_arm_result(scored, arm) for arm in experiment.arms if arm.name in scored.arms],
        comparisons=compared,
        classes=class_gains(scored, REAL) if measured else [],
        groups=group_gains(scored, REAL) if measured else [],
        changes=_changes(answers, settings) if measured else [],
        recommendation=recommend(answers.task, compared, experiment.arms),
    )


def _arm_result(scored: ScoredTask, arm: Arm) -> ArmResult:
    answers, own = scored.answers, scored.arms[arm.name]
    right = answers.arms[arm.name].predicted == answers.truth
    return ArmResult(
        arm=arm.name,
        kind=arm.kind,
        ratio=arm.ratio,
        seeds=len(own.seeds),
        f1_macro=measure(scored.mean(arm.name, scored.macro)),
        per_seed=[float(value) for value in own.f1 @ scored.macro],
        accuracy=float(right.mean()),
        calibration=measure(scored.calibration(arm.name)),
    )


def _changes(answers: TaskAnswers, settings: AnalysisSettings) -> list[Changes]:
    found = [
        changes(answers, arm, REAL, settings.shown, settings.seed)
        for arm in answers.arms
        if arm != REAL
    ]
    return [each for each in found if each is not None]


def _backbone(experiment: Experiment) -> str | None:
    value = experiment.training.get("backbone")
    return value if isinstance(value, str) else None


def reader_notes(
    results: Results, answers: Mapping[str, TaskAnswers], comparisons: int, swaps: int
) -> list[str]:
    """The experiment's own notes, and what its state adds to them, one sentence each.

    Args:
        results: The experiment.
        answers: Its answers per task.
        comparisons: In the larger family.
        swaps: Of the permutation test.
    """
    notes = [*results.experiment.notes, *_fixed_folds_note(results.experiment)]
    if results.missing:
        total = len(results.missing) + len(results.units)
        notes.append(
            f"{len(results.missing)} of {total} trainings are not done; seeds without all their "
            "folds are left out, and arms are compared in the seeds that both have."
        )
    seeds = [len(arm.seeds) for found in answers.values() for arm in found.arms.values()]
    runs = results.experiment.folds * max(seeds, default=0)
    if min(seeds, default=0) < 5:
        notes.append(
            f"Some arm has only {min(seeds, default=0)} whole seed(s): intervals are wide with "
            "few, and there are none with one. Ten are a good number."
        )
    for task in results.experiment.tasks:
        if task not in answers:
            notes.append(f"No tested picture has a {task} label, so {task} was not measured.")
    notes += _resolution_notes(runs, comparisons, swaps)
    return notes


def _fixed_folds_note(experiment: Experiment) -> list[str]:
    """What intervals do not see where every seed has the same folds."""
    if not experiment.design.get("fixed_splits") or len(experiment.seeds) < 2:
        return []
    return [
        f"The folds are fixed: {experiment.folds} training sets serve all {len(experiment.seeds)} "
        "seeds, and the intervals and p-values cannot see how other training sets would have "
        f"done: they hold for these {experiment.folds} and are too sure of others (in made-up "
        "experiments with two training sets and ten seeds 57 to 92 % of the intervals hold). Folds "
        "are drawn anew for each seed where no folder has learned from a photograph."
    ]


def _resolution_notes(runs: int, comparisons: int, swaps: int) -> list[str]:
    """Whether corrected p-values can fall below the level at all."""
    if comparisons * smallest_p(runs, swaps) <= LEVEL or not comparisons:
        return []
    if runs <= EXACT_RUNS:
        return [
            f"{runs} training runs can be swapped in {2 ** (runs - 1)} ways, too few for "
            f"{comparisons} comparison(s): no corrected p-value can be below {LEVEL}. Run more "
            "seeds."
        ]
    return [
        f"{swaps} swaps are too few for {comparisons} comparisons: no corrected p-value can be "
        f"below {LEVEL}. Give --swaps {20 * 20 * comparisons} or more."
    ]


def beside_the_paper(tasks: Mapping[str, TaskResult]) -> list[PaperFigure]:
    """One row for each task of the paper; ours is None where its arm or task was not run."""
    figures = []
    for task, (low, high, says) in PAPER.items():
        ours = None
        for comparison in tasks[task].comparisons if task in tasks else []:
            if comparison.arm == PAPER_ARM and comparison.reference == REAL:
                ours = comparison.f1_macro
        figures.append(PaperFigure(task=task, low=low, high=high, says=says, ours=ours))
    return figures
