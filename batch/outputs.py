"""The result in the form that its file's ending names: Parquet, a spreadsheet, or Label Studio's.

All are written from the finished parts, a part in memory at a time, and appear when they are whole.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import pyarrow as pa

from batch.inputs import Source, owner_rows
from batch.parts import Parts, read_part, write_tables
from batch.reading import is_url
from batch.rows import Row, printable
from porcelain.bundle import Bundle
from porcelain.errors import UserError
from porcelain.files import replace_when_written, write_text
from porcelain.vocabulary import load_taxonomy

Value = str | float | bool | None
Rows = Iterator[tuple[list[str], Row]]
"""The owner's cells and the result's row, input by input."""

EXCEL_ROWS: Final = 1_048_576  # of a sheet, its header among them
EXCEL_CHARACTERS: Final = 32_767  # of a cell
CUT: Final = "…"
_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)*%?")
OWNER_PREFIX: Final = "owner_"


@dataclass(frozen=True)
class Result:
    """A finished job, ready to be written.

    Attributes:
        source: What it was made from.
        bundle: The model that answered.
        parts: All rows.
        schema: Of the parts.
        image_url: What Label Studio finds the pictures behind; None gives their paths.
        label_sets: Whether label sets were asked for.
    """

    source: Source
    bundle: Bundle
    parts: Parts
    schema: pa.Schema
    image_url: str | None = None
    label_sets: bool = False

    def owner_columns(self) -> list[str]:
        """The columns of the owner's table; without one there are none."""
        return [] if self.source.table is None else owner_rows(self.source.table)[0]

    def tables(self) -> Iterator[tuple[list[list[str]], pa.Table]]:
        """The owner's cells and the rows of each part.

        Raises:
            UserError: The owner's table has changed since the work began.
        """
        owned = None if self.source.table is None else owner_rows(self.source.table)[1]
        for path in self.parts.paths():
            table = read_part(path)
            cells: list[list[str]] = []
            for location in table["path"].to_pylist():
                place, some = (location, []) if owned is None else next(owned, ("", []))
                if printable(place) != location:
                    raise UserError(f"{self.source.table} has changed meanwhile; start anew.")
                cells.append(some)
            yield cells, table

    def rows(self) -> Rows:
        """The owner's cells and the row of each input."""
        for cells, table in self.tables():
            yield from zip(cells, table.to_pylist(), strict=True)


Writer = Callable[[Result, BinaryIO, dict[str, Any]], int]
"""Writes a result and its facts; tells how many cells had to be cut."""


def check_output(out: Path) -> None:
    """Refuse a file whose ending names no form of result.

    Raises:
        UserError: It does, or what writes it is not installed.
    """
    if out.suffix.lower() not in _WRITERS:
        raise UserError(
            f"--out {out} must end in .parquet, .xlsx, .csv or .json (Label Studio's predictions)."
        )


def check_rows(out: Path, rows: int) -> None:
    """Refuse more rows than the form holds, before there is work to lose.

    Raises:
        UserError: A sheet of Excel cannot hold them.
    """
    if out.suffix.lower() == ".xlsx" and rows >= EXCEL_ROWS:
        raise UserError(
            f"{rows:,} rows are more than a sheet of Excel holds ({EXCEL_ROWS - 1:,}); let --out "
            "end in .csv or .parquet."
        )


def write_result(result: Result, out: Path, facts: dict[str, Any]) -> int:
    """Write all rows to `out`, which appears when it is whole.

    Args:
        result: What to write.
        out: Its ending names the form.
        facts: JSON-ready, kept in a Parquet file's metadata.

    Returns:
        How many cells were longer than the form allows, and were cut.

    Raises:
        UserError: The owner's table has changed since the work began.
    """
    with replace_when_written(out) as file:
        cut = _WRITERS[out.suffix.lower()](result, file, facts)
    if out.suffix.lower() == ".json":
        write_text(labelling_config_file(out), labelling_config(result.bundle))
    return cut


def labelling_config_file(out: Path) -> Path:
    """Where the labelling configuration for Label Studio's predictions is: beside them."""
    return out.with_suffix(".xml")


def _parquet(result: Result, file: BinaryIO, facts: dict[str, Any]) -> int:
    """Every column of the parts; the owner's stand first, renamed where the result has the name."""
    taken = set(result.schema.names)
    names = [f"{OWNER_PREFIX}{n}" if n in taken else n for n in result.owner_columns()]
    schema = pa.schema([*((name, pa.string()) for name in names), *result.schema])

    def owned() -> Iterator[pa.Table]:
        for cells, table in result.tables():
            columns = zip(*cells, strict=True) if names else ()
            arrays = [pa.array(column, pa.string()) for column in columns]
            yield pa.table([*arrays, *table.columns], names=schema.names)

    write_tables(file, owned(), schema, facts)
    return 0


def catalogue_columns(result: Result) -> list[str]:
    """The header of a spreadsheet: the owner's columns, or the path; then the answers.

    A column of ours that the owner has already ends in `(2)`.
    """
    owned = result.owner_columns() or ["path"]
    ours = [column for task in result.bundle.classifier.labels for column in _task_columns(task)]
    ours += [name for name in result.schema.names if name in _extra_columns(result)]
    return [*owned, *(f"{name} (2)" if name in owned else name for name in ours)]


def _task_columns(task: str) -> list[str]:
    ends = ["answer", "en", "zh", "probability", "sure"]
    ends += [f"{place}{end}" for place in ("second", "third") for end in ("", "_probability")]
    return [f"{task}_{end}" for end in ends]


def _extra_columns(result: Result) -> set[str]:
    """The result's columns that a spreadsheet shows as they are, behind the answers."""
    tasks = result.bundle.classifier.labels
    ends = (
        "none_of_these",
        "model_probability",
        "conflict",
        *(["set"] if result.label_sets else []),
    )
    extra = {f"{task}_{end}" for task in tasks for end in ends}
    return (
        extra
        | {"in_domain", "unusual_combination", "error_kind", "error", "model_digest"}
        | {
            "model_name",
            "model_version",
        }
    )


def catalogue_rows(result: Result) -> Iterator[list[Value]]:
    """The rows of a spreadsheet, cell by cell as `catalogue_columns` names them."""
    labels, taxonomy = result.bundle.classifier.labels, load_taxonomy(result.bundle.path)
    names = {task: {s: taxonomy.term(task, s) for s in slugs} for task, slugs in labels.items()}
    extra = [name for name in result.schema.names if name in _extra_columns(result)]
    owned = bool(result.owner_columns())
    for cells, row in result.rows():
        values: list[Value] = [*cells] if owned else [row["path"]]
        for task in labels:
            label = row[task]
            if label is None:
                values += [None] * len(_task_columns(task))
                continue
            term = names[task][label]
            sure = not row[f"{task}_abstained"]
            values += [label, term.en, term.zh, _rounded(row[f"{task}_probability"]), sure]
            others = [one for one in row[f"{task}_top"] or [] if one["label"] != label][:2]
            for one in others:
                values += [names[task][one["label"]].en, _rounded(one["probability"])]
            values += [None] * (2 * (2 - len(others)))
        for name in extra:
            value = row[name]
            values.append("; ".join(value) if isinstance(value, list) else _rounded(value))
        yield values


def _rounded(value: Any) -> Any:  # noqa: ANN401 - any cell
    """A probability with four digits, more than it is worth; anything else as it is."""
    return round(value, 4) if isinstance(value, float) else value


def _csv(result: Result, file: BinaryIO, facts: dict[str, Any]) -> int:
    """UTF-8 with a byte order mark, by which Excel knows it; no cell is a formula."""
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(map(harmless, catalogue_columns(result)))
    for row in catalogue_rows(result):
        writer.writerow([harmless(value) for value in row])
    text.detach()
    return 0


def harmless(value: Value) -> Value:
    """A cell of CSV that no spreadsheet program runs: what could be a formula gets a `'` in front.

    Numbers stay as they are. Source: OWASP, CSV Injection.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def _xlsx(result: Result, file: BinaryIO, facts: dict[str, Any]) -> int:
    return write_xlsx(file, catalogue_columns(result), catalogue_rows(result))


def write_xlsx(file: BinaryIO, columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> int:
    """A workbook of one sheet, row by row.

    Text is stored as text whatever it looks like, so that nothing in it is a formula, a link or a
    number; where it begins like a formula the cell is marked as quoted (Excel's own apostrophe),
    so that it stays text when somebody edits it. Lines in a cell end as Excel's do, by a line feed.

    Args:
        file: To write into.
        columns: The header.
        rows: Cells; None is an empty one.

    Returns:
        How many cells had more characters than Excel holds, and were cut.
    """
    import xlsxwriter

    plain = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    cut = 0
    with xlsxwriter.Workbook(file, {"constant_memory": True, **plain}) as book:
        sheet = book.add_worksheet("labels")
        bold, quoted = book.add_format({"bold": True}), book.add_format({"quote_prefix": True})
        sheet.freeze_panes(1, 0)
        for number, column in enumerate(columns):
            sheet.write_string(0, number, column, bold)
        for line, row in enumerate(rows, start=1):
            for number, value in enumerate(row):
                if value is None or value == "":
                    continue
                if isinstance(value, bool):
                    sheet.write_boolean(line, number, value)
                elif isinstance(value, str):
                    value = value.replace("\r\n", "\n")
                    if len(value) > EXCEL_CHARACTERS:
                        value, cut = value[: EXCEL_CHARACTERS - 1] + CUT, cut + 1
                    style = quoted if _FORMULA.match(value) else None
                    sheet.write_string(line, number, value, style)
                else:
                    sheet.write_number(line, number, value)
    return cut


def _label_studio(result: Result, file: BinaryIO, facts: dict[str, Any]) -> int:
    """A list of tasks with predictions (https://labelstud.io/guide/predictions)."""
    columns, separator = result.owner_columns(), b"[\n"
    for cells, row in result.rows():
        task = _task(result, dict(zip(columns, cells, strict=True)), row)
        file.write(separator + json.dumps(task, ensure_ascii=False).encode())
        separator = b",\n"
    file.write(b"\n]\n" if separator == b",\n" else b"[]\n")
    return 0


def _task(result: Result, owned: dict[str, str], row: Row) -> dict[str, Any]:
    """One picture: its data, and the answers as a prediction; without one where it has an error."""
    data: dict[str, Any] = {**owned, "image": _image(result, row["path"])}
    if row["error_kind"] is not None:
        return {"data": {**data, "error": row["error"]}}
    model = f"{row['model_name']} {row['model_version']}"
    answers = [
        {
            "id": f"{row['index']}-{task}",
            "from_name": task,
            "to_name": "image",
            "type": "choices",
            "value": {"choices": [row[task]]},
            "score": _rounded(row[f"{task}_probability"]),
        }
        for task in result.bundle.classifier.labels
    ]
    least = min(answer["score"] for answer in answers)
    prediction = {"model_version": model, "score": least, "result": answers}
    return {"data": data, "predictions": [prediction]}


def _image(result: Result, path: str) -> str:
    """Where Label Studio finds a picture."""
    if result.image_url is None or is_url(path):
        return path
    source = result.source
    root = source.table.parent if source.table is not None else Path(source.place)
    below = Path(path).relative_to(root) if Path(path).is_relative_to(root) else Path(path)
    return result.image_url + quote(below.as_posix().lstrip("/"))


def labelling_config(bundle: Bundle) -> str:
    """Label Studio's labelling configuration for a bundle's tasks and labels."""
    taxonomy = load_taxonomy(bundle.path)
    lines = ["<View>", '  <Image name="image" value="$image" zoom="true"/>']
    for task, labels in bundle.classifier.labels.items():
        lines.append(f"  <Header value={quoteattr(task)}/>")
        lines.append(f'  <Choices name={quoteattr(task)} toName="image" choice="single">')
        for label in labels:
            term = taxonomy.term(task, label)
            hint = " ".join(name for name in (term.en, term.zh) if name)
            lines.append(f"    <Choice value={quoteattr(label)} hint={quoteattr(hint)}/>")
        lines.append("  </Choices>")
    return "\n".join([*lines, "</View>", ""])


_WRITERS: Final[dict[str, Writer]] = {
    ".parquet": _parquet,
    ".xlsx": _xlsx,
    ".csv": _csv,
    ".json": _label_studio,
}
