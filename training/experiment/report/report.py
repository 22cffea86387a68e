"""`porcelain experiment report`: from an experiment's folder to a page one can act on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from porcelain.errors import ImageError, UserError
from porcelain.files import atomic_folder, check_free, write_text
from porcelain.images import decode_image
from porcelain.vocabulary import TASK_NAMES, Taxonomy, Term, task_term
from training.experiment.arms import REAL
from training.experiment.records import Arm, read_results
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
from training.experiment.statistics.analysis import PAPER_ARM, AnalysisSettings, analyse
from training.experiment.statistics.recommendation import describe, plain_points, signed_points
from training.experiment.statistics.results import (
    ArmResult,
    ChangedPicture,
    Changes,
    Comparison,
    ExperimentReport,
    Measure,
    TaskResult,
)
from training.pages.page import page_templates, thumbnail_uri

HTML_FILE: Final = "report.html"
MARKDOWN_FILE: Final = "report.md"
JSON_FILE: Final = "report.json"


HTML_TEMPLATE: Final = "experiment.html.jinja"
MARKDOWN_TEMPLATE: Final = "experiment.md.jinja"
_FOREST: Final = (6.0, 254.0)
_MAX_COLUMNS: Final = 5
_SIDE: Final = 190


def report_experiment(
    folders: Sequence[Path],
    out: Path,
    settings: AnalysisSettings | None = None,
    *,
    data: Path | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int, int, str], None] | None = None,
) -> ExperimentReport:
    """Analyse an experiment and write `report.html`, `report.md` and `report.json`.

    Args:
        folders: The experiment's folder, and those of further shards.
        out: Folder to write.
        settings: How much is resampled.
        data: Where its dataset folder is now; by default as the experiment named it.
        overwrite: Replace what is at `out`.
        on_progress: Called with tasks done, in all, and the name of the next.

    Raises:
        UserError: `out` is taken, nothing is finished yet, or the folders do not belong together.
        DatasetError: A folder is no experiment, or damaged.
    """
    check_free(out, overwrite, folders)
    results = read_results(*folders)
    experiment = results.experiment
    pictures = data or Path(experiment.data)
    if data is not None and not data.is_dir():
        raise UserError(f"--data {data} is not a folder.")
    report = analyse(results, settings, on_progress)
    if not pictures.is_dir():
        note = f"The dataset folder {pictures} was not found, so no pictures are shown; see --data."
        report = report.model_copy(update={"notes": [*report.notes, note]})
    sections = sections_of(
        report, experiment.arms, experiment.taxonomy, pictures if pictures.is_dir() else None
    )
    with atomic_folder(out, overwrite=overwrite) as folder:
        write_text(folder / JSON_FILE, report.model_dump_json(indent=2) + "\n")
        write_text(folder / MARKDOWN_FILE, render_markdown(report, sections))
        write_text(folder / HTML_FILE, render_html(report, sections))
    return report


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
        name=task_term(task.task),
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
    return ordered[:_MAX_COLUMNS]


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


def thumbnails(root: Path | None, pictures: list[ChangedPicture]) -> dict[str, str]:
    """Data URIs by file name; pictures that are gone or unreadable are left out."""
    found: dict[str, str] = {}
    if root is None:
        return found
    for picture in pictures:
        path = root / picture.file_name
        try:
            image = decode_image(path.read_bytes(), longest_side=_SIDE).pixels
        except (OSError, ImageError):
            continue
        found[picture.file_name] = thumbnail_uri(image, _SIDE)
    return found
