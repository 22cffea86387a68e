"""Reports as tables for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from porcelain.dataset import Dataset, subset
from porcelain.vocabulary import TASKS
from training.data.check import CheckReport
from training.data.mix import MixReport
from training.data.rows import Change
from training.data.split import SUBSETS, Split

_MOST_FILES = 5


def check_view(report: CheckReport) -> RenderableType:
    """What a folder holds, and every finding with its first files."""
    summary = Table("task", "known", "blank", "classes (pictures)", title=escape(report.root))
    for task in TASKS:
        counts = report.labels[task]
        listed = ", ".join(f"{label} {count}" for label, count in counts.items()) or "none"
        known = str(report.pictures - report.blank[task])
        summary.add_row(task, known, str(report.blank[task]), escape(listed))
    parts = ", ".join(f"{part} {count}" for part, count in report.parts.items())
    facts = f"{report.pictures} rows, {report.readable} readable, {report.synthetic} synthetic"
    if report.split:
        facts += f"; split by {report.split}: {parts}"
    return Group(summary, Text(facts), *_finding_lines(report))


def _finding_lines(report: CheckReport) -> Iterator[Text]:
    for finding in report.findings:
        style = "bold red" if finding.severity == "error" else "yellow"
        yield Text.assemble((finding.severity, style), f" {finding.code}: {finding.message}")
        for file in finding.files[:_MOST_FILES]:
            yield Text(f"    {file}")
        if len(finding.files) > _MOST_FILES:
            yield Text(f"    … and {len(finding.files) - _MOST_FILES} more (--json lists all)")


def corrections_view(changes: list[Change]) -> RenderableType:
    """How often what was changed, and why."""
    table = Table("changes", "of", "why", title="Corrected")
    table.columns[0].justify = "right"
    counts = Counter((change.column or "rows and files", change.why) for change in changes)
    for (column, why), count in counts.most_common():
        table.add_row(str(count), escape(column), escape(why))
    return table


def split_view(dataset: Dataset, split: Split) -> RenderableType:
    """Pictures per part and label."""
    table = Table("task", "label", *SUBSETS)
    for column in table.columns[2:]:
        column.justify = "right"
    parts = [subset(dataset, split.names[part]) for part in SUBSETS]
    table.add_row("all", "", *(str(len(part)) for part in parts), end_section=True)
    for task in TASKS:
        counts = [part.counts(task) for part in parts]
        labels = dataset.counts(task).most_common()
        for i, (label, _) in enumerate(labels, start=1):
            numbers = (str(count[label]) for count in counts)
            table.add_row(task, label, *numbers, end_section=i == len(labels))
    return table


def mix_view(report: MixReport) -> RenderableType:
    """What was added per class, and what was left out."""
    table = Table("task", "label", "real", "added", "synthetic")
    for column in table.columns[2:]:
        column.justify = "right"
    for task, classes in report.classes.items():
        for i, (label, change) in enumerate(classes.items(), start=1):
            share = change.added / max(1, change.real + change.added)
            numbers = (str(change.real), f"+{change.added}", f"{share:.1%}")
            table.add_row(task, label, *numbers, end_section=i == len(classes))
    left_out = (
        Text(f"Left out {len(names)} synthetic picture(s): {reason.replace('_', ' ')}, first ")
        + Text(names[0])
        for reason, names in report.left_out.items()
    )
    return Group(table, *left_out)
