"""What an import of a table did, for programs (`import.json`) and for people (`import.html`)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table as View
from rich.text import Text

from porcelain.errors import ImageError
from porcelain.images import decode_image
from porcelain.vocabulary import TASK_NAMES, Taxonomy
from training.data.labels import looks_blank
from training.data.museums.report import WHY
from training.pages.page import page_templates, thumbnail_uri

TEMPLATE: Final = "table_import.html.jinja"
_SIDE: Final = 176
_MOST: Final = 500  # rows of one list on the page; import.json holds all


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ColumnRead(_Result):
    """What a column was read as, why, and what stands in it."""

    name: str
    meaning: str
    why: str
    examples: list[str]


class ValueRead(_Result):
    """What was made of one text for one task, and in which rows it stands (the first few)."""

    text: str
    label: str | None
    why: str
    words: str
    rows: int
    lines: list[int]


class TaskRead(_Result):
    """One task: pictures per label, rows per reason of a blank, values, doubtful ones first."""

    labels: dict[str, int]
    blank: dict[str, int]
    values: list[ValueRead]


class LeftOut(_Result):
    """A row or a file that is not in the dataset as it stands, and why."""

    what: str
    why: str


class TableReport(_Result):
    """What an import did.

    Attributes:
        source: What was read.
        facts: What was assumed about it.
        images: Folder of the pictures.
        rows: Rows read.
        rows_with_pictures: Of them, those with a picture in the dataset.
        pictures: Pictures in the dataset.
        objects: Different object numbers among them.
        columns: What each column was read as.
        tasks: What was read per task.
        rows_left_out: Rows without a picture, and rows of which something was not found.
        pictures_left_out: Files that no row names.
        notes: What else was decided, such as rows that name one picture.
        examples: Pictures of the dataset with their labels, for the page.
    """

    source: str
    facts: dict[str, str]
    images: str
    rows: int
    rows_with_pictures: int
    pictures: int
    objects: int
    columns: list[ColumnRead]
    tasks: dict[str, TaskRead]
    rows_left_out: list[LeftOut]
    pictures_left_out: list[LeftOut]
    notes: list[str]
    examples: dict[str, dict[str, str | None]]


def render_report(report: TableReport, taxonomy: Taxonomy, folder: Path) -> str:
    """The page.

    Args:
        report: What the import did.
        taxonomy: Names of the labels.
        folder: Dataset folder with the pictures.
    """
    template = page_templates("training.data").get_template(TEMPLATE)
    cards = [
        (uri, name, [taxonomy.term(task, label).en for task, label in labels.items() if label])
        for name, labels in report.examples.items()
        if (uri := _thumbnail(folder / name))
    ]
    doubtful = sum(v.rows for t in report.tasks.values() for v in t.values if _is_doubtful(v))
    return template.render(
        report=report,
        tasks=TASK_NAMES,
        taxonomy=taxonomy,
        why=WHY,
        cards=cards,
        most=_MOST,
        doubtful=doubtful,
        is_doubtful=_is_doubtful,
    )


def _is_doubtful(value: ValueRead) -> bool:
    return value.label is None and not looks_blank(value.text)


def _thumbnail(path: Path) -> str:
    """A small copy for the page; none of a picture that cannot be read, which `check` tells."""
    try:
        return thumbnail_uri(decode_image(path.read_bytes(), longest_side=_SIDE).pixels, _SIDE)
    except ImageError:
        return ""


def report_view(report: TableReport) -> RenderableType:
    """The report as tables for a terminal."""
    columns = View("column", "read as", "because", title=escape(report.source))
    for column in report.columns:
        columns.add_row(escape(column.name), column.meaning, column.why)
    tasks = View("task", "pictures with a label", "rows left blank because")
    for task, read in report.tasks.items():
        blank = ", ".join(f"{why} {count}" for why, count in read.blank.items()) or "none"
        tasks.add_row(task, str(sum(read.labels.values())), blank)
    facts = "; ".join(f"{name}: {fact}" for name, fact in report.facts.items())
    lines = [Text(facts)]
    for what, left in (("row", report.rows_left_out), ("file", report.pictures_left_out)):
        if left:
            example = f"{left[0].what}: {left[0].why}"
            lines.append(Text(f"{len(left)} {what}(s) not matched, first {example}"))
    return Group(columns, tasks, *lines)
