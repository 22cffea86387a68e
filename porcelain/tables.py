"""CSV files as this project reads them: UTF-8, commas, every fault told with its line.

Quotes are the trap: one that opens and never closes makes the rest of the file a single cell, and
most readers say nothing. Here it is an error that names the line where the quote opens.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from porcelain.errors import DatasetError
from porcelain.image_formats import IMAGE_SUFFIXES

PICTURE_NAME: Final = re.compile(
    f"({'|'.join(map(re.escape, sorted(IMAGE_SUFFIXES)))})$", re.IGNORECASE
)
LINE_END: Final = re.compile(r"\r\n|\r|\n")
MAX_LINE: Final = 1_000_000
"""Characters of one line: a longer one is no table, and is not held in memory."""


class StrayQuoteError(DatasetError):
    """A quote that swallows what follows: the line where it opens, and its place in that line."""

    def __init__(self, path: Path, line: int, column: int, what: str) -> None:
        super().__init__(
            f"{path} line {line}: a quote opens here and {what}; write a quote that belongs to "
            'the text as "" inside a quoted cell, or remove it.'
        )
        self.line, self.column = line, column


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        line: Where it begins, counted from 1.
        cells: Text per column, stripped. Columns without a name that hold text are `column N`.
        raw: Text per named column as it stands.
    """

    line: int
    cells: dict[str, str]
    raw: dict[str, str] = field(default_factory=dict)


def read_csv(path: Path) -> tuple[list[str], Iterator[Row]]:
    """The named columns of a CSV file in UTF-8, and its rows, read as they are asked for.

    Empty rows are left out, and so are empty cells beyond the header. Short rows end in blanks.

    Raises:
        DatasetError: The file is not UTF-8 or not separated by commas, a column stands twice, a
            row has more cells than the header, or a quote swallows rows. Faults of rows are raised
            when these are reached.
    """
    records = parse_csv(_lines(path), path)
    _, header = next(records, (1, []))
    columns = [column.strip() for column in header]
    named = [column for column in columns if column]
    twice = next((column for column in named if named.count(column) > 1), None)
    if twice is not None:
        raise DatasetError(f"{path} has the column {twice} twice; rename or delete one.")
    if len(columns) == 1 and (found := re.search("[;\t]", columns[0])):
        kind = "semicolons" if found[0] == ";" else "tabs"
        raise DatasetError(f"{path} is separated by {kind}; separate it by commas.")
    return named, _rows(records, columns, path)


def _rows(
    records: Iterable[tuple[int, list[str]]], columns: list[str], path: Path
) -> Iterator[Row]:
    names = [column or f"column {number}" for number, column in enumerate(columns, start=1)]
    for line, cells in records:
        stripped = [cell.strip() for cell in cells]
        if not any(stripped):
            continue
        if any(stripped[len(columns) :]):
            raise DatasetError(
                f"{path} line {line} has more fields than the header ({len(cells)}, not "
                f"{len(columns)}); quote cells that hold commas."
            )
        stripped += [""] * (len(columns) - len(stripped))
        pairs = zip(names, columns, stripped, strict=False)
        raw = dict(zip(columns, [*cells, *[""] * (len(columns) - len(cells))], strict=False))
        raw.pop("", None)
        yield Row(line, {name: cell for name, column, cell in pairs if column or cell}, raw)


def parse_csv(
    lines: Iterable[str], path: Path, delimiter: str = ","
) -> Iterator[tuple[int, list[str]]]:
    """The records of a CSV text, each with the line where it begins.

    Args:
        lines: With their line ends, of any kind.
        path: For messages.
        delimiter: Between cells.

    Raises:
        StrayQuoteError: A quote is not closed, closes amid a cell, or holds whole rows.
        DatasetError: It is not CSV for another reason.
    """
    pending: list[str] = []  # the lines of the record that is being read

    def fed() -> Iterator[str]:
        for line in lines:
            pending.append(line)
            yield line

    reader = csv.reader(fed(), delimiter=delimiter, strict=True)
    width = 0
    while True:
        start = reader.line_num + 1
        pending.clear()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            opened = open_quote("".join(pending), delimiter)
            if opened is None:
                raise DatasetError(f"{path} line {start} is not CSV: {error}.") from error
            offset, column, what = opened
            raise StrayQuoteError(path, start + offset, column, what) from error
        if cells is None:
            return
        if len(pending) > 1 and width and _holds_rows(cells, width, delimiter):
            opened = open_quote("".join(pending), delimiter, swallowing=True)
            offset, column, _ = opened or (0, 0, "")
            further = len(pending) - 1 - offset
            raise StrayQuoteError(
                path, start + offset, column, f"closes {further} line(s) further down"
            )
        width = width or len(cells)
        yield start, cells


def open_quote(text: str, delimiter: str, swallowing: bool = False) -> tuple[int, int, str] | None:
    """The quote that spoils a record: its line and its place there, from 0, and what it does.

    Args:
        text: The record's lines.
        delimiter: Between cells.
        swallowing: Whether a quote that closes properly, but lines later, is the one looked for.
    """
    quoted = re.compile(r'"(?:[^"]|"")*("?)')
    plain = re.compile(rf"[^{re.escape(delimiter)}\r\n]*")
    place = 0
    while place < len(text):
        match = quoted.match(text, place)
        if match is not None:
            *before, last = LINE_END.split(text[:place])
            what = ""
            if not match[1]:
                what = "never closes"
            elif swallowing and LINE_END.search(match[0]):
                what = "closes lines later"
            elif text[match.end() : match.end() + 1] not in ("", delimiter, "\r", "\n"):
                what = "closes amid a cell"
            if what:
                return len(before), len(last), what
            place = match.end() + 1
        elif (cell := plain.match(text, place)) is not None:
            place = cell.end() + 1
    return None


def _holds_rows(cells: list[str], width: int, delimiter: str) -> bool:
    """Whether a cell of several lines holds what look like rows of this table.

    A line in it is a row where a picture stands among other cells, or where it has the table's
    width and no blank: prose has blanks behind its commas.
    """
    for cell in cells:
        for line in LINE_END.split(cell)[1:]:
            parts = line.split(delimiter)
            pictures = sum(bool(PICTURE_NAME.search(part.strip())) for part in parts)
            if 0 < pictures < len(parts) or (
                len(parts) == width > 2 and not re.search(r"\s", line)
            ):
                return True
    return False


def _lines(path: Path) -> Iterator[str]:
    try:
        # utf-8-sig: spreadsheet programs begin a CSV with a byte order mark.
        with path.open(encoding="utf-8-sig", newline="") as file:
            number = 0
            while line := file.readline(MAX_LINE):
                number += 1
                if len(line) == MAX_LINE:
                    raise DatasetError(f"{path} line {number} is too long for a table.")
                yield line
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path} is not UTF-8; save it as CSV UTF-8, or bring it in with `porcelain data "
            "import table`, which reads what spreadsheets write."
        ) from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}.") from error
