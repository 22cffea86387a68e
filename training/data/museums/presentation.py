"""An import as tables for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from training.data.museums.results import ImportReport, reasons_of


def import_view(report: ImportReport) -> RenderableType:
    """What became of the records, and labels and blanks per task."""
    fates = Table("records", "fate", title=escape(report.museum))
    fates.columns[0].justify = "right"
    for fate, number in report.fates.items():
        fates.add_row(str(number), escape(fate))
    tasks = Table("task", "mapped", "blank", "labels (records)", "blank because")
    for task, count in report.tasks.items():
        tasks.add_row(
            task,
            str(sum(count.labels.values())),
            str(sum(count.blank.values())),
            _listed(count.labels),
            _listed(count.blank),
        )
    lines = [
        Text(f"{number} address(es) without a picture: {reason}")
        for reason, number in report.failures.items()
    ]
    lines += [
        Text(f"{number} record(s) listed and not given: {reason}")
        for reason, number in reasons_of(report.unanswered).items()
    ]
    return Group(fates, tasks, *lines)


def _listed(counts: dict[str, int]) -> str:
    return escape(", ".join(f"{name} {count}" for name, count in counts.items()) or "none")
