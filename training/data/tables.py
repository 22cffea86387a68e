"""Tables as people have them: xlsx, CSV and TSV in any usual encoding, titles above the header.

What is found is told with what was assumed (encoding, separator, sheet, header row), because each
of these may be wrong and can be given instead.
"""

from __future__ import annotations

import csv
import datetime
import io
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from porcelain.errors import UserError
from porcelain.tables import Row, parse_csv
from porcelain.vocabulary import TAXONOMY_FILE

SEPARATORS: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
MAX_HEADER_ROW: Final = 40
"""Rows among which the header is looked for; titles and notes stand above it."""

_WORKBOOKS: Final = {".xlsx", ".xlsm"}
_CHINESE: Final = {"gb18030": (0xB0, 0xD7), "big5": (0xA4, 0xC6)}


@dataclass(frozen=True)
class Table:
    """A table that has been read.

    Attributes:
        path: The file.
        columns: Names of the columns, each once.
        rows: Rows that hold anything, with their line (or row of the sheet).
        facts: What was assumed about the file, for people.
        files: Where a folder was read: the files in it that hold the rows.
    """

    path: Path
    columns: list[str]
    rows: list[Row]
    facts: dict[str, str]
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class TableOptions:
    """What the user says of a table instead of having it found out."""

    sheet: str | None = None
    encoding: str | None = None
    header: int | None = None


Recognise = Callable[[Sequence[str]], int]
"""How many cells of a row are names of columns that are known."""


def read_table(path: Path, recognise: Recognise, options: TableOptions | None = None) -> Table:
    """Read a table in any of the forms that people have.

    Args:
        path: An .xlsx workbook, or a text of cells with any separator.
        recognise: Counts the known names of columns in a row: the header has the most.
        options: What need not be found out.

    Raises:
        UserError: It cannot be read; the message names the line where one is at fault.
    """
    options = options or TableOptions()
    if not path.is_file():
        raise UserError(f"There is no file {path}; give a table (.xlsx, .csv or .tsv).")
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        raise UserError(f"{path} is a workbook of Excel 2003 or older; save it as .xlsx.")
    if head.startswith(b"PK") or path.suffix.lower() in _WORKBOOKS:
        records, facts = _read_workbook(path, recognise, options)
    else:
        text, encoding = decode_text(path.read_bytes(), path, options.encoding)
        separator = find_separator(text)
        lines = io.StringIO(text, newline="").readlines()
        records = list(parse_csv(lines, path, separator))
        facts = {"Encoding": encoding, "Separated by": SEPARATORS[separator]}
    return _table(path, records, facts, recognise, options.header)


def _table(
    path: Path,
    records: list[tuple[int, list[str]]],
    facts: dict[str, str],
    recognise: Recognise,
    header: int | None,
) -> Table:
    """A table from its records: the header found, columns named once, empty rows left out."""
    records = [(line, [cell.strip() for cell in cells]) for line, cells in records]
    full = [(line, cells) for line, cells in records if any(cells)]
    if header is not None:
        chosen = next((record for record in full if record[0] == header), None)
        if chosen is None:
            raise UserError(f"{path} has nothing in row {header}; give --header another row.")
    elif full:
        chosen = max(full[:MAX_HEADER_ROW], key=lambda record: (recognise(record[1]), -record[0]))
        if recognise(chosen[1]) == 0:
            chosen = max(full[:MAX_HEADER_ROW], key=lambda r: (sum(map(bool, r[1])), -r[0]))
    else:
        raise UserError(f"{path} holds no table.")
    line, names = chosen
    width = max(len(cells) for _, cells in full)
    columns: list[str] = []
    for number, name in enumerate(names + [""] * (width - len(names)), start=1):
        name = " ".join(name.split()) or f"column {number}"
        columns.append(name if name not in columns else f"{name} ({number})")
    used = {i for start, cells in full if start > line for i, cell in enumerate(cells) if cell}
    # A column without a name and without a cell is only an edge of the sheet.
    kept = [i for i in range(width) if i in used or (i < len(names) and names[i])]
    rows = [
        Row(start, {columns[i]: cells[i] if i < len(cells) else "" for i in kept})
        for start, cells in full
        if start > line and any(cells)
    ]
    facts = facts | {"Header": f"row {line}", "Rows": str(len(rows))}
    return Table(path, [columns[i] for i in kept], rows, facts)


def decode_text(data: bytes, path: Path, encoding: str | None = None) -> tuple[str, str]:
    """A text and the encoding that it is in, by what its bytes allow.

    Args:
        data: The bytes.
        path: For messages.
        encoding: The encoding, where it is known.

    Raises:
        UserError: The encoding is unknown, or the bytes are not in it.
    """
    found = encoding or find_encoding(data)
    try:
        return data.decode(found).removeprefix("\ufeff"), found
    except LookupError as error:
        raise UserError(f"--encoding {found} is not known; gb18030, big5, cp1252 are.") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not {found} (byte {error.start}); give its --encoding, or save it as "
            "CSV UTF-8."
        ) from error


def find_encoding(data: bytes) -> str:
    """The encoding of a text, of those that spreadsheet programs write.

    Western text has accents among its letters. Chinese text is in that of the two Chinese encodings
    which makes words of this field, or at least common characters, of it: a detector for text in
    general errs on a handful of characters (`tests/training/data/test_tables.py`).
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    zeros = [data[i::2].count(0) for i in (0, 1)]
    if max(zeros) > len(data) / 8:
        return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    shares = {name: _chinese_share(data, name) for name in _CHINESE}
    best = max(shares, key=lambda name: shares[name])
    try:
        beyond = [c for c in data.decode("utf-8-sig") if c > "\x7f"]
    except UnicodeDecodeError:
        western = _western_share(data.decode("cp1252", "replace"))
        return "cp1252" if western > 0.6 or shares[best] < 0.4 else best
    # A few Chinese characters may be valid UTF-8 by chance: of alphabets that no catalogue mixes.
    by_chance = beyond and all("\u0180" <= c <= "\u07ff" for c in beyond) and shares[best] > 0.9
    return best if by_chance else "utf-8"


def _western_share(text: str) -> float:
    """The share of the characters beyond ASCII that stand as in Western text."""
    beyond = [found.start() for found in re.finditer(r"[^\x00-\x7f]", text)]
    fine = sum(
        text[i] in "–—‘’“”…°«»×·"
        or bool(re.match(r"[a-z][à-ÿß]|[A-Z][À-Þà-ÿ]", text[i - 1 : i + 1]))
        or bool(re.match(r"[à-ÿÀ-Þß][a-z]|[À-Þ][A-Z]", text[i : i + 2]))
        for i in beyond
    )
    return fine / max(1, len(beyond))


def _chinese_share(data: bytes, encoding: str) -> float:
    """How far a text's characters beyond ASCII are Chinese: 1 for this field's, half for common."""
    try:
        characters = [c for c in data.decode(encoding) if c > "\x7f"]
    except UnicodeDecodeError:
        return 0.0
    scores = (1.0 if c in _vocabulary() else 0.5 * _is_common(c) for c in characters)
    return sum(scores) / max(1, len(characters))


@cache
def _vocabulary() -> frozenset[str]:
    """The Chinese characters of the tables of phrases, labels and columns."""
    places = (("training.data.museums", "phrases.yaml"), ("training.data", "columns.yaml"))
    texts = [files(place).joinpath(name).read_text(encoding="utf-8") for place, name in places]
    texts.append(files("porcelain").joinpath(TAXONOMY_FILE).read_text(encoding="utf-8"))
    return frozenset(re.findall("[\u3400-\u9fff，。；：、（）《》「」]", "".join(texts)))


def _is_common(character: str) -> bool:
    """Whether it stands among the common characters of either Chinese encoding."""
    for encoding, (first, last) in _CHINESE.items():
        try:
            coded = character.encode(encoding)
        except UnicodeEncodeError:
            continue
        level_one = encoding == "big5" or coded[-1] > 0xA0
        if len(coded) == 2 and first <= coded[0] <= last and level_one:
            return True
    return False


def find_separator(text: str) -> str:
    """The separator under which most rows are equally wide, and wider than one cell."""
    sample = io.StringIO(text[:200_000], newline="").readlines()[:500]

    def fit(separator: str) -> tuple[float, int]:
        try:
            widths = [len(cells) for cells in csv.reader(sample, delimiter=separator) if any(cells)]
        except csv.Error:
            return 0.0, 0
        wide = [width for width in widths if width > 1]
        if not wide:
            return 0.0, 0
        width, count = Counter(wide).most_common(1)[0]
        return count / len(widths), width

    return max(SEPARATORS, key=fit)


def _read_workbook(
    path: Path, recognise: Recognise, options: TableOptions
) -> tuple[list[tuple[int, list[str]]], dict[str, str]]:
    """The records of the sheet that is asked for, or of the one with the best header."""
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        # Not read-only: merged cells are wanted. Values, not formulas.
        book = load_workbook(path, data_only=True)
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise UserError(
            f"{path} is not an .xlsx workbook that can be read ({error}); open it in a "
            "spreadsheet program and save it again, without a password."
        ) from error
    sheets = {sheet.title: sheet for sheet in book.worksheets}
    if options.sheet is not None and options.sheet not in sheets:
        raise UserError(
            f"{path} has no sheet {options.sheet!r}; it has {', '.join(map(repr, sheets))}."
        )
    best: tuple[tuple[int, int], str, list[tuple[int, list[str]]]] | None = None
    for title, sheet in sheets.items():
        if options.sheet not in (None, title):
            continue
        records = _sheet_records(sheet)
        known = max((recognise(cells) for _, cells in records[:MAX_HEADER_ROW]), default=0)
        fit = (known, min(len(records), 2))
        if best is None or fit > best[0]:
            best = fit, title, records
    if best is None or not best[2]:
        raise UserError(f"{path} has no cell with anything in it.")
    facts = {"Sheet": best[1]}
    if len(sheets) > 1:
        others = ", ".join(title for title in sheets if title != best[1])
        facts["Sheet"] += f" (not read: {others}; --sheet chooses)"
    return best[2], facts


def _sheet_records(sheet: Any) -> list[tuple[int, list[str]]]:  # noqa: ANN401 - openpyxl's
    """Rows of a sheet as text; a cell merged over several rows stands in each of them."""
    spread = {}
    for area in sheet.merged_cells.ranges:
        for row in range(area.min_row, area.max_row + 1):
            spread[row, area.min_col] = sheet.cell(area.min_row, area.min_col)
    records = []
    for number, row in enumerate(sheet.iter_rows(), start=sheet.min_row):
        cells = [cell_text(spread.get((cell.row, cell.column), cell)) for cell in row]
        # What stands left of the sheet's first column is empty.
        records.append((number, [""] * (sheet.min_column - 1) + cells))
    return [(number, cells) for number, cells in records if any(cells)]


def cell_text(cell: Any) -> str:  # noqa: ANN401 - openpyxl's cell
    """What a cell shows: whole numbers without a point, leading zeros that its format adds."""
    value = cell.value
    if value is None or cell.data_type == "e":
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat(" ")
    if isinstance(value, int | float):
        if float(value).is_integer() and abs(value) < 1e15:
            zeros = re.fullmatch(r"0+", cell.number_format or "")
            return str(int(value)).zfill(len(zeros[0]) if zeros else 0)
        return repr(value)
    return str(value).strip()
