"""The report as one self-contained HTML page, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from porcelain.vocabulary import Taxonomy, Term
from training.experiment.records import Arm
from training.experiment.report.charts import (
    COLOURS,
    OTHER_COLOUR,
    RatioChart,
    Scale,
    SizeChart,
    ratio_chart,
    scale,
    size_chart,
)
from training.experiment.report.pictures import thumbnails
from training.experiment.statistics.comparisons import REAL
from training.experiment.statistics.paper import PAPER_ARM
from training.experiment.statistics.recommendation import describe, plain_points, signed_points
from training.experiment.statistics.results import (
    ArmResult,
    Changes,
    Comparison,
    ExperimentReport,
    Measure,
    TaskResult,
)
from training.pages.page import TASK_NAMES, page_templates

HTML_TEMPLATE: Final = "experiment.html.jinja"
MARKDOWN_TEMPLATE: Final = "experiment.md.jinja"

_FOREST: Final = (6.0, 254.0)
_MOST_COLUMNS: Final = 5


@dataclass(frozen=True)
class ArmRow:
    """An arm in a task's table.

    Attributes:
        result: Its scores.
        title: For people.
        colour: Of its kind.
        against_real: Its comparison with `real`; None for `real` itself.
        controls: Its comparisons with controls.
    """

    result: ArmResult
    title: str
    colour: str
    against_real: Comparison | None
    controls: list[Comparison]


@dataclass(frozen=True)
class Section:
    """What is shown of one task.

    Attributes:
        task: The numbers.
        name: For people.
        names: Of its labels.
        rows: One per arm.
        focus: The arm shown in detail: the recommended one, else the paper's, else the best.
        columns: Arms in the table of classes.
        ratios: Gain against ratio.
        sizes: Gain against class size, for the focus.
        changes: Pictures that the focus turned.
        thumbnails: Data URI by file name.
    """

    task: TaskResult
    name: Term
    names: dict[str, Term]
    rows: list[ArmRow]
    focus: str | None
    columns: list[str]
    ratios: RatioChart | None
    sizes: SizeChart | None
    changes: Changes | None
    thumbnails: dict[str, str]


def render_html(report: ExperimentReport, sections: Sequence[Section]) -> str:
    """One HTML page with no reference to anything outside itself."""
    return _render(HTML_TEMPLATE, report, sections)


def render_markdown(report: ExperimentReport, sections: Sequence[Section]) -> str:
    """The same as Markdown, without pictures."""
    return _render(MARKDOWN_TEMPLATE, report, sections)


def sections_of(
    report: ExperimentReport, arms: Sequence[Arm], taxonomy: Taxonomy, pictures: Path | None
) -> list[Section]:
    """What is shown of every task.

    Args:
        report: The numbers.
        arms: In order.
        taxonomy: Names for people.
        pictures: The dataset folder; None where it is not at hand.
    """
    return [_section(task, arms, taxonomy, pictures) for task in report.tasks.values()]


def _section(
    task: TaskResult, arms: Sequence[Arm], taxonomy: Taxonomy, pictures: Path | None
) -> Section:
    focus = _focus(task)
    changes = next((c for c in task.changes if c.arm == focus), None)
    turned = [*changes.better, *changes.worse] if changes else []
    return Section(
        task=task,
        name=TASK_NAMES.get(task.task, Term(en=task.task.capitalize())),
        names={c.label: taxonomy.term(task.task, c.label) for c in task.classes}
        | {
            label: taxonomy.term(task.task, label)
            for p in turned
            for label in (p.truth, p.real_answer, p.arm_answer)
        },
        rows=[_row(task, result, arms) for result in task.arms],
        focus=focus,
        columns=_columns(task, focus),
        ratios=ratio_chart(task),
        sizes=size_chart(task.classes, focus) if focus else None,
        changes=changes,
        thumbnails=thumbnails(pictures, turned),
    )


def _row(task: TaskResult, result: ArmResult, arms: Sequence[Arm]) -> ArmRow:
    own = [c for c in task.comparisons if c.arm == result.arm]
    arm = next(arm for arm in arms if arm.name == result.arm)
    return ArmRow(
        result=result,
        title="real photographs only" if result.kind == REAL else describe(arm),
        colour=COLOURS.get(result.kind, OTHER_COLOUR),
        against_real=next((c for c in own if c.family == "real"), None),
        controls=[c for c in own if c.family == "control"],
    )


def _focus(task: TaskResult) -> str | None:
    against = {c.arm: c for c in task.comparisons if c.family == "real"}
    if task.recommendation.verdict == "use":
        return task.recommendation.arm
    if PAPER_ARM in against:
        return PAPER_ARM
    return max(against, key=lambda arm: against[arm].f1_macro.value, default=None)


def _columns(task: TaskResult, focus: str | None) -> list[str]:
    """Arms whose gains stand in the table of classes, the focus first."""
    arms = [c.arm for c in task.comparisons if c.family == "real"]
    ordered = sorted(arms, key=lambda arm: arm != focus)
    return ordered[:_MOST_COLUMNS]


def _render(template: str, report: ExperimentReport, sections: Sequence[Section]) -> str:
    templates = page_templates("training.experiment.report")
    templates.filters["points"] = signed_points
    templates.filters["plain"] = plain_points
    templates.filters["p_value"] = p_value
    templates.filters["tick"] = tick
    templates.filters["sentence"] = sentence
    return templates.get_template(template).render(
        report=report,
        sections=sections,
        forest=_forest(report),
        arms=_arm_titles(sections),
        tasks=TASK_NAMES,
    )


def p_value(value: float | None) -> str:
    """A p-value with two significant digits, or a dash."""
    if value is None:
        return "–"
    if value < 0.001:
        return "< 0.001"
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def tick(value: float) -> str:
    """A difference on an axis, without needless decimals."""
    return f"{round(100 * value, 1):+g}".replace("-", "−") if round(value, 4) else "0"


def sentence(text: str) -> str:
    """With a capital letter."""
    return text[:1].upper() + text[1:]


def _forest(report: ExperimentReport) -> Scale:
    """One axis for the differences of all tasks, so that they can be compared."""
    measures: list[Measure] = [
        c.f1_macro for task in report.tasks.values() for c in task.comparisons
    ]
    return scale(measures, *_FOREST)


def _arm_titles(sections: Sequence[Section]) -> dict[str, Any]:
    return {row.result.arm: row for section in sections for row in section.rows}
