"""What a reader must know before trusting a report."""

from __future__ import annotations

from collections.abc import Mapping

from training.experiment.records import Results
from training.experiment.statistics.answers import TaskAnswers
from training.experiment.statistics.results import LEVEL


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
    notes = list(results.experiment.notes)
    if results.missing:
        total = len(results.missing) + len(results.units)
        notes.append(
            f"{len(results.missing)} of {total} trainings are not done; seeds without all their "
            "folds are left out, and arms are compared in the seeds that both have."
        )
    seeds = [len(arm.seeds) for found in answers.values() for arm in found.arms.values()]
    if min(seeds, default=0) < 5:
        notes.append(
            f"Some arm has only {min(seeds, default=0)} whole seed(s): intervals are wide with "
            "few, and there are none with one. Ten are a good number."
        )
    for task in results.experiment.tasks:
        if task not in answers:
            notes.append(f"No tested picture has a {task} label, so {task} was not measured.")
    if comparisons / (1 + swaps) > LEVEL:
        notes.append(
            f"{swaps} swaps are too few for {comparisons} comparisons: no corrected p-value can be "
            f"below {LEVEL}. Give --swaps {20 * 20 * comparisons} or more."
        )
    return notes
