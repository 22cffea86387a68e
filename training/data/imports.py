"""The import of people's own tables and pictures: rows read, pictures found, a dataset made."""

from __future__ import annotations

import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from porcelain.dataset import SLUG, TRUE_VALUES, Record, plain_name, write_metadata
from porcelain.errors import DatasetError, UserError
from porcelain.files import atomic_folder, check_free, write_json, write_text
from porcelain.tables import Row
from porcelain.vocabulary import TASKS, Taxonomy
from training.data import mapping as meaning
from training.data.import_report import (
    ColumnRead,
    LeftOut,
    TableReport,
    TaskRead,
    ValueRead,
    render_report,
)
from training.data.labels import LabelNames
from training.data.mapping import MAPPING_FILE, Answer, Column, RowReader
from training.data.mapping import Mapping as Given
from training.data.matching import PictureIndex, picture_names
from training.data.rows import COLUMNS, plain_object
from training.data.tables import Table

REPORT_JSON: Final = "import.json"
REPORT_HTML: Final = "import.html"
COPYING: Final = "Copying pictures"
_EXAMPLES: Final = 3
_LINES: Final = 5

Progress = Callable[[str, int, int, str], None]


@dataclass
class _Gathered:
    """What becomes of the rows, while they are gone through."""

    records: dict[str, Record] = field(default_factory=dict)  # by picture
    row_of: dict[str, int] = field(default_factory=dict)
    answers: list[tuple[Row, dict[str, Answer]]] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    with_pictures: int = 0


def import_table(
    table: Table,
    images: Path,
    out: Path,
    *,
    taxonomy: Taxonomy,
    given: Given,
    source: str = "",
    overwrite: bool = False,
    on_progress: Progress | None = None,
) -> TableReport:
    """Make a dataset folder of a table and the pictures that it names.

    Args:
        table: The rows.
        images: Folder of the pictures, which are copied.
        out: Dataset folder to write, with `mapping.yaml`, `import.json` and `import.html`.
        taxonomy: Names of the labels.
        given: What the user says of columns and values.
        source: What the table is called in the report, if not by its path.
        overwrite: Replace what is at `out`.
        on_progress: Called with the part, how much is done, of how much, and a note.

    Raises:
        UserError: `out` is taken, or no column says which pictures, or what they show.
        DatasetError: No row has a picture.
    """
    check_free(out, overwrite, (table.path, images))
    names = LabelNames(taxonomy)
    columns = meaning.assign_columns(table, given.columns, names)
    _check_columns(table, columns)
    pictures, others = picture_names(images)
    reader = RowReader(columns, names, given.values, table.rows)
    numbers = [reader.cell(row, "object_id") for row in table.rows]
    index = PictureIndex(pictures, numbers)
    gathered = _gather(table, columns, reader, index)
    if not gathered.records:
        raise DatasetError(_nothing(table, images, pictures, gathered))
    others |= {name: "no row names it" for name in pictures if name not in gathered.records}
    read = {table.path, *table.files}
    others = {name: why for name, why in others.items() if images / name not in read}
    source = source or str(table.path)
    report = _report(table, columns, source, images, gathered, others)
    with atomic_folder(out, overwrite=overwrite) as work:
        _copy(images, work, gathered.records, on_progress)
        write_metadata(work, gathered.records.values())
        listed = {task: _ordered(task, gathered) for task in TASKS}
        write_text(work / MAPPING_FILE, meaning.mapping_text(source, columns, listed))
        write_json(work / REPORT_JSON, report.model_dump(mode="json"))
        write_text(work / REPORT_HTML, render_report(report, taxonomy, work))
    return report


def _check_columns(table: Table, columns: Mapping[str, Column]) -> None:
    meanings = {column.meaning for column in columns.values()}
    listed = ", ".join(map(repr, table.columns))
    if not meanings & {"file_name", "object_id"}:
        raise UserError(
            f"No column of {table.path} says which picture a row is about (it has {listed}); say "
            'which, as in --map "Photo=file_name" or --map "Inv. no.=object_id".'
        )
    if not meanings & {*TASKS, *meaning.TEXTS}:
        raise UserError(
            f"No column of {table.path} says anything of {', '.join(TASKS)} (it has {listed}); "
            f'say which does, as in --map "Period={TASKS[0]}".'
        )


def _gather(
    table: Table, columns: Mapping[str, Column], reader: RowReader, index: PictureIndex
) -> _Gathered:
    """Read every row and give it its pictures."""
    result = _Gathered()
    carried = _carried(table, columns)
    spelling: dict[str, str] = {}
    targets: dict[str, str] = {}
    for row in table.rows:
        answers = reader.answers(row)
        number = reader.cell(row, "object_id")
        match = index.match(reader.cell(row, "file_name"), number)
        result.answers.append((row, answers))
        if match.problem:
            left = "" if match.pictures else "; the row is not in the dataset"
            result.left_out.append(LeftOut(what=_row_name(row, number), why=match.problem + left))
        usual = spelling.setdefault(plain_object(number), number)
        if number and usual != number:
            result.notes.append(
                f"Row {row.line}: object {number!r} is spelled {usual!r}, as above."
            )
        labels = {task: answer.label for task, answer in answers.items()}
        extra = {name: row.cells[column] for column, name in carried.items()}
        synthetic = reader.cell(row, "synthetic").lower() in TRUE_VALUES
        result.with_pictures += bool(match.pictures)
        for picture in match.pictures:
            if picture in result.records:
                _join(result, picture, row, labels)
                continue
            name = _target(picture, targets)
            record = Record(name, dict(labels), usual or None, synthetic, extra)
            result.records[picture], result.row_of[picture] = record, row.line
    return result


def _row_name(row: Row, number: str) -> str:
    said = number or next(filter(None, row.cells.values()), "")
    return f"row {row.line}" + (f" ({said[:60]})" if said else "")


def _join(result: _Gathered, picture: str, row: Row, labels: Mapping[str, str | None]) -> None:
    """A picture that two rows name: labels on which they differ are left blank."""
    record = result.records[picture]
    differ = [task for task in TASKS if record.labels[task] != labels[task]]
    for task in differ:
        record.labels[task] = None
    said = f"they differ in {', '.join(differ)}, left blank" if differ else "with equal labels"
    first = result.row_of[picture]
    result.notes.append(f"Row {row.line} names {picture}, as row {first} does: {said}.")


def _target(picture: str, targets: dict[str, str]) -> str:
    """Where a picture is put: below `images`, with no sign in its name that a table cannot hold."""
    parts = unicodedata.normalize("NFC", picture).split("/")
    clean = [re.sub(r"[\x00-\x1f\\\u2028\u2029]", "_", part).strip() or "_" for part in parts]
    name = "/".join(clean if clean[0] == "images" and len(clean) > 1 else ["images", *clean])
    stem, dot, suffix = name.rpartition(".")
    number = 2
    while name.casefold() in targets:
        name, number = f"{stem}-{number}{dot}{suffix}", number + 1
    targets[name.casefold()] = picture
    return name


def _carried(table: Table, columns: Mapping[str, Column]) -> dict[str, str]:
    """The columns that go along as they are, with the names under which they do."""
    ours = {plain_name(name): name for name in COLUMNS}
    carried: dict[str, str] = {}
    for column in table.columns:
        reserved = ours.get(plain_name(column))
        if reserved is None:
            carried[column] = column
        elif columns[column].meaning == meaning.KEEP or (
            # What is already a label says nothing more.
            reserved in TASKS
            and not all(SLUG.fullmatch(row.cells[column] or "blank") for row in table.rows)
        ):
            carried[column] = f"catalogue_{reserved}"
    return carried


def _ordered(task: str, gathered: _Gathered) -> list[Answer]:
    """The different answers of a task, doubtful ones first, then the most frequent."""
    counts = Counter(answers[task] for _, answers in gathered.answers)
    return sorted(counts, key=lambda answer: (answer.doubt, -counts[answer]))


def _report(
    table: Table,
    columns: Mapping[str, Column],
    source: str,
    images: Path,
    gathered: _Gathered,
    others: Mapping[str, str],
) -> TableReport:
    records = list(gathered.records.values())
    tasks = {}
    for task in TASKS:
        lines: dict[Answer, list[int]] = {}
        for row, answers in gathered.answers:
            lines.setdefault(answers[task], []).append(row.line)
        values = [
            ValueRead(
                text=answer.text,
                label=answer.label,
                why=answer.why,
                words=answer.words,
                rows=len(lines[answer]),
                lines=lines[answer][:_LINES],
            )
            for answer in _ordered(task, gathered)
        ]
        blank: Counter[str] = Counter()
        for value in values:
            if value.label is None:
                blank[value.why] += value.rows
        counts = Counter(label for record in records if (label := record.labels[task]))
        tasks[task] = TaskRead(
            labels=dict(counts.most_common()), blank=dict(blank.most_common()), values=values
        )
    read = [
        ColumnRead(name=name, meaning=c.meaning, why=c.why, examples=_examples(table, name))
        for name, c in columns.items()
    ]
    return TableReport(
        source=source,
        facts=table.facts,
        images=str(images),
        rows=len(table.rows),
        rows_with_pictures=gathered.with_pictures,
        pictures=len(records),
        objects=len({record.object_id for record in records if record.object_id}),
        columns=read,
        tasks=tasks,
        rows_left_out=gathered.left_out,
        pictures_left_out=[LeftOut(what=name, why=others[name]) for name in sorted(others)],
        notes=gathered.notes,
        examples={record.file_name: record.labels for record in _spread(records)},
    )


def _examples(table: Table, column: str) -> list[str]:
    found = dict.fromkeys(row.cells[column] for row in table.rows if row.cells[column])
    return [text[:80] for text in list(found)[:_EXAMPLES]]


def _spread(records: list[Record], most: int = 48) -> Iterable[Record]:
    return records[:: max(1, -(-len(records) // most))]


def _copy(
    images: Path, work: Path, records: Mapping[str, Record], on_progress: Progress | None
) -> None:
    for done, (picture, record) in enumerate(records.items(), start=1):
        target = work / record.file_name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(images / picture, target)
        if on_progress is not None:
            on_progress(COPYING, done, len(records), "")


def _nothing(table: Table, images: Path, pictures: list[str], gathered: _Gathered) -> str:
    first = gathered.left_out[0] if gathered.left_out else None
    example = f" ({first.what}: {first.why.partition(';')[0]})" if first else ""
    there = f"{len(pictures)} picture(s), first {pictures[0]}" if pictures else "no picture"
    return (
        f"No row of {table.path} has a picture in {images}{example}, which holds {there}; give "
        "the folder that the names belong to, or --map the column that names the pictures."
    )
