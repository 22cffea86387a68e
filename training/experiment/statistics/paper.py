"""The gains that the paper reports at 90:10 (arXiv 2601.14791), beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from training.experiment.records import Arm
from training.experiment.statistics.comparisons import MIX, REAL
from training.experiment.statistics.results import PaperFigure, TaskResult

PAPER: Final = {
    "dynasty": (0.03, 0.04, "3 to 4 points more"),
    "glaze": (None, None, "no gain"),
    "kiln": (0.03, 0.04, "3 to 4 points more"),
    "type": (0.055, 0.055, "5.5 points more"),
}
"""F1-macro at 90:10 against real pictures alone, as arXiv 2601.14791 reports it."""

PAPER_ARM: Final = Arm(kind=MIX, ratio=10.0).name


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
