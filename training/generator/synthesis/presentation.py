"""Plan and outcome as tables for people at a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from porcelain.vocabulary import TASKS
from training.generator.synthesis.plan import Plan
from training.generator.synthesis.results import SynthesisReport

MOST_LINES = 40
MOST_SHORTFALLS = 8


def plan_view(plan: Plan) -> RenderableType:
    """How many pictures of what, the rarest kinds first."""
    table = Table(*TASKS, "photographs", "to make", title=f"Plan: {plan.total} pictures")
    for column in table.columns[len(TASKS) :]:
        column.justify = "right"
    for planned in plan.kinds[:MOST_LINES]:
        labels = (escape(label or "–") for label in planned.kind)
        table.add_row(*labels, str(planned.photographs), str(planned.count))
    rest = plan.kinds[MOST_LINES:]
    if not rest:
        return table
    more = sum(planned.count for planned in rest)
    rest_told = f"… and {more} pictures of {len(rest)} more kinds (--dry-run lists all)"
    return Group(table, Text(rest_told))


def outcome_view(report: SynthesisReport) -> RenderableType:
    """What the filter dropped, and what fell short."""
    table = Table("rule", "dropped", "no other rule would have", title="What the filter dropped")
    for column in table.columns[1:]:
        column.justify = "right"
    for reason, count in report.rules.items():
        name = reason.value
        if name == "misread" and count.dropped:
            name += " (" + ", ".join(f"{task} {n}" for task, n in report.misread.items()) + ")"
        table.add_row(name, str(count.dropped), str(count.alone))
    short = sorted(report.shortfalls, key=lambda kind: -kind.shortfall)
    lines = [
        Text(
            f"Short by {kind.shortfall} of {kind.planned}: "
            + " ".join(kind.labels.values())
            + f" ({kind.sampled} sampled, {kind.kept} kept)"
        )
        for kind in short[:MOST_SHORTFALLS]
    ]
    if rest := short[MOST_SHORTFALLS:]:
        missing = sum(kind.shortfall for kind in rest)
        lines.append(Text(f"… and by {missing} of {len(rest)} more kinds (see the report)"))
    if report.photographs_passed is not None:
        share = f"{report.photographs_passed:.0%}"
        lines.append(
            Text(f"For comparison, {share} of held-out photographs pass for their own labels.")
        )
    return Group(table, *lines)
