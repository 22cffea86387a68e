"""Reading a `metadata.csv` that may be wrong: every fault is told, none stops the reading.

Each kind of fault is one finding, with what was found, where, and what was probably meant. What was
probably meant is also what `porcelain data check --fix` writes (see `training.data.corrections`).
"""

from __future__ import annotations

import difflib
import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from porcelain.dataset import (
    FALSE_VALUES,
    METADATA_FILE,
    SLUG,
    TRUE_VALUES,
    Dataset,
    Record,
    picture_path,
    plain_name,
)
from porcelain.errors import DatasetError
from porcelain.tables import LINE_END, Row, StrayQuoteError, parse_csv
from porcelain.vocabulary import TASKS, TAXONOMY_FILE, load_taxonomy
from training.data.findings import Finding
from training.data.labels import LabelNames, looks_blank, plain_label, slug_of
from training.data.tables import SEPARATORS, decode_text, find_separator

COLUMNS: Final = ("file_name", *TASKS, "object_id", "synthetic")
"""The columns that a dataset folder gives a meaning to."""

MISLEADING: Final = frozenset(
    {"stray_quote", "near_header", "duplicate_column", "blank_like_label", "label_spelling"}
)
"""Kinds with which training would go through and learn what is wrong."""

_LITTER: Final = re.compile(
    r"(^|/)(\._[^/]*|__MACOSX|@eaDir|\.DS_Store|Thumbs\.db|desktop\.ini)(/|$)"
)
_PLACES: Final = 5  # named in a message
_TYPO: Final = 0.85  # least likeness of a label and what was probably meant
_DISORDER: Final = "have a file_name that is not a path below the folder"

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Change:
    """One correction: of a cell, of a whole row (`column` blank), or of the file (line 0)."""

    line: int
    column: str
    before: str
    after: str
    why: str


@dataclass
class Examined:
    """A `metadata.csv` with what is wrong with it.

    Attributes:
        dataset: The rows that can be used, as they are; labels that are no slugs are blank.
        columns: Names of the columns, corrected.
        rows: The same rows with every correction applied.
        findings: One for each kind of fault.
        changes: The corrections.
    """

    dataset: Dataset
    columns: list[str]
    rows: list[Row]
    findings: list[Finding] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)


def is_litter(name: str) -> bool:
    """Whether a path is what macOS, Windows or a NAS leaves beside people's files."""
    return _LITTER.search(name) is not None


def examine_rows(root: Path, any_form: bool = False) -> Examined:
    """Read `metadata.csv`, tell every fault, and correct what has one plain correction.

    Args:
        root: A dataset folder.
        any_form: Whether to read other encodings and separators, as a correction does.

    Raises:
        DatasetError: There is no such folder or file, it is not a CSV file in UTF-8 with commas, it
            lacks a needed column, or no row can be used.
    """
    path = root / METADATA_FILE
    if not root.is_dir() or not path.is_file():
        what = f"has no {METADATA_FILE}" if root.is_dir() else "is not a folder"
        raise DatasetError(f"{root} {what}; give a folder of pictures with {METADATA_FILE}.")
    notes = _Notes()
    text, separator = _text(path, any_form, notes)
    records = _records(text, path, separator, notes)
    columns, rows = _columns(path, records, notes)
    if "file_name" not in columns:
        raise DatasetError(f"{path} has no column file_name.")
    if not any(task in columns for task in TASKS):
        raise DatasetError(f"{path} has none of the label columns {', '.join(TASKS)}.")
    fixes = _label_fixes(root, rows)
    kept: dict[str, tuple[Record, Row]] = {}
    for row in rows:
        read = _row(row, fixes, notes)
        if read is None:
            continue
        name = read[0].file_name
        if name in kept:
            fault = "name a picture that an earlier row names"
            notes.bad_row(fault, name, row.line)
            notes.change(row.line, "", name, "", f"left out: line {kept[name][1].line} names it")
        else:
            kept[name] = read
    if not kept:
        raise DatasetError(f"{path} has no rows that can be used.")
    result = Examined(
        Dataset(root, tuple(record for record, _ in kept.values())),
        columns,
        _one_spelling_per_object([row for _, row in kept.values()], notes),
    )
    result.findings, result.changes = notes.findings(fixes), notes.changes
    return result


@dataclass
class _Fix:
    """What a spelling of a label probably means, and why it is at fault."""

    code: str
    after: str
    meant: str


class _Notes:
    """Faults and corrections, gathered while a file is read."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self._places: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._lines: dict[tuple[str, str], list[int]] = defaultdict(list)

    def add(self, code: str, what: str, line: int, file: str = "") -> None:
        self._places[code, what].append(file or f"line {line}")
        self._lines[code, what].append(line)

    def bad_row(self, fault: str, file: str, line: int) -> None:
        self.add("bad_row", fault, line, file or f"line {line}")

    def change(self, line: int, column: str, before: str, after: str, why: str) -> None:
        self.changes.append(Change(line, column, before, after, why))

    def findings(self, fixes: Mapping[tuple[str, str], _Fix]) -> list[Finding]:
        """One finding a kind; rows that are wrong in several ways are told by way."""
        found = []
        for code, (severity, message) in _KINDS.items():
            whats = [what for kind, what in self._places if kind == code]
            if not whats:
                continue
            files = [file for what in whats for file in self._places[code, what]]
            said = "; ".join(f"{what} ({_lines(self._lines[code, what])})" for what in whats)
            text = message.format(count=len(files), what=said)
            found.append(Finding(code=code, severity=severity, message=text, files=files))
        by_line = sorted(self._places.items(), key=lambda item: self._lines[item[0]][0])
        for (code, fault), files in by_line:
            if code == "bad_row":
                hint = _hint(fault, files, fixes)
                text = f"{len(files)} row(s) of {METADATA_FILE} {fault}{hint}"
                text += f" ({_lines(self._lines[code, fault])})."
                found.append(Finding(code=code, severity="error", message=text, files=files))
        return found


_KINDS: Final[dict[str, tuple[Severity, str]]] = {
    "stray_quote": ("error", "{count} quote(s) swallow rows: {what}; remove or close them."),
    "near_header": (
        "error",
        "{count} column name(s) are nearly right, and training does not see them: {what}.",
    ),
    "duplicate_column": (
        "error",
        "{count} column(s) stand twice, and only one of each can count: {what}.",
    ),
    "unused_column": ("warning", "{count} column(s) may be meant as others: {what}."),
    "blank_like_label": (
        "error",
        "{count} label(s) look like blanks, and would be learned as classes: {what}; leave the "
        "cells empty.",
    ),
    "label_spelling": (
        "error",
        "{count} label(s) are other spellings of one that is there: {what}.",
    ),
    "label_typo": ("warning", "{count} rare label(s) are nearly another: {what}."),
    "backslash_path": (
        "error",
        "{count} file_name(s) have backslashes: {what}; write forward slashes.",
    ),
    "dot_path": ("warning", "{count} file_name(s) are written in a roundabout way: {what}."),
    "litter_row": (
        "error",
        "{count} row(s) name what macOS or a NAS leaves beside pictures: {what}; delete the rows.",
    ),
    "object_spelling": (
        "warning",
        "{count} object_id(s) differ in spelling only, and count as other objects: {what}.",
    ),
}


def _lines(lines: Iterable[int]) -> str:
    numbers = sorted(set(lines))
    more = f" and {len(numbers) - _PLACES} more" if len(numbers) > _PLACES else ""
    listed = ", ".join(map(str, numbers[:_PLACES]))
    return f"line{'s' if len(numbers) > 1 else ''} {listed}{more}"


def _hint(fault: str, files: list[str], fixes: Mapping[tuple[str, str], _Fix]) -> str:
    """What the labels of a fault were probably meant to be."""
    task = next((task for task in TASKS if fault.startswith(f"have a {task} that")), None)
    meant: dict[str, str] = {}
    for file in files if task else []:
        value = file.rpartition(" (")[2].removesuffix(")")
        fix = fixes.get((task or "", value))
        if fix is not None and fix.after:
            meant[value] = fix.after
    listed = ", ".join(f"{after} ({value})" for value, after in list(meant.items())[:_PLACES])
    return f"; did you mean {listed}?" if listed else ""


def _text(path: Path, any_form: bool, notes: _Notes) -> tuple[str, str]:
    """The file's text and separator; what is no UTF-8 with commas is refused or noted."""
    text, encoding = decode_text(path.read_bytes(), path)
    separator = find_separator(text)
    found = []
    if not encoding.startswith("utf-8"):
        found.append(f"is not UTF-8 (it reads as {encoding})")
    if separator != "," and separator in text.partition("\n")[0]:
        found.append(f"is separated by {SEPARATORS[separator]}")
    else:
        separator = ","
    if found and not any_form:
        raise DatasetError(
            f"{path} {' and '.join(found)}; training reads UTF-8 CSV with commas. Write a "
            f"corrected copy with `porcelain data check {path.parent} --fix OUT`."
        )
    for what in found:
        notes.change(0, "", "", "UTF-8 CSV with commas", f"{path.name} {what}")
    return text, separator


def _records(text: str, path: Path, separator: str, notes: _Notes) -> list[tuple[int, list[str]]]:
    """Every record; a quote that swallows rows is taken out, and its line noted."""
    lines = io.StringIO(text, newline="").readlines()
    records: list[tuple[int, list[str]]] = []
    begin = 0
    while True:
        try:
            for line, cells in parse_csv(lines[begin:], path, separator):
                records.append((begin + line, cells))
        except StrayQuoteError as error:
            place = begin + error.line - 1
            broken = lines[place]
            lines[place] = broken[: error.column] + broken[error.column + 1 :]
            said = LINE_END.sub("", broken)[error.column : error.column + 20]
            notes.add("stray_quote", f"one opens before {said.strip(chr(34))!r}", place + 1)
            notes.change(
                place + 1,
                "",
                LINE_END.sub("", broken),
                LINE_END.sub("", lines[place]),
                "stray quote",
            )
            # Read on from behind the last whole record before the quote.
            whole = [record for record in records if record[0] <= place + 1]
            begin = _end_of(*whole[-1]) if whole else 0
            records = whole
        else:
            return records


def _end_of(line: int, cells: Sequence[str]) -> int:
    """The index of the line behind a record."""
    return line + sum(len(LINE_END.findall(cell)) for cell in cells)


def _columns(
    path: Path, records: list[tuple[int, list[str]]], notes: _Notes
) -> tuple[list[str], list[Row]]:
    """Corrected names of the columns, and the rows under them."""
    if not records:
        raise DatasetError(f"{path} has no column file_name.")
    (first, header), *body = records
    given = [column.strip() for column in header]
    plain = {plain_name(name): name for name in COLUMNS}
    names: list[str] = []
    for number, column in enumerate(given, start=1):
        name = column or f"column {number}"
        near = plain.get(plain_name(column))
        if near is not None and column != near and near not in given and near not in names:
            notes.add("near_header", f"{column!r}, did you mean {near}?", first, column)
            notes.change(first, column, column, near, "column name")
            name = near
        elif column and name in names:
            notes.add("duplicate_column", repr(column), first, column)
            name = next(f"{name}_{n}" for n in range(2, number + 2) if f"{name}_{n}" not in names)
            notes.change(first, column, column, name, "column name that stands twice")
        elif column and near is None and (meant := _resembles(column, given)):
            notes.add("unused_column", f"{column!r}, did you mean {meant}?", first, column)
        names.append(name)
    rows = []
    for line, cells in body:
        stripped = [cell.strip() for cell in cells]
        if not any(stripped):
            continue
        if any(stripped[len(names) :]):
            index = names.index("file_name") if "file_name" in names else 0
            notes.bad_row("have more fields than the header; quote commas", stripped[index], line)
            notes.change(line, "", ",".join(cells), "", "left out: more fields than the header")
            continue
        stripped += [""] * (len(names) - len(stripped))
        rows.append(Row(line, dict(zip(names, stripped, strict=False))))
    used = [
        name
        for name, column in zip(names, given, strict=True)
        if column or any(row.cells[name] for row in rows)
    ]
    return used, rows


def _resembles(column: str, given: Sequence[str]) -> str | None:
    """The column with a meaning that a foreign one may be meant as, where that one is missing."""
    missing = [name for name in COLUMNS if name not in given]
    close = difflib.get_close_matches(column.casefold(), missing, 1, _TYPO)
    return close[0] if close else None


def _label_fixes(root: Path, rows: Sequence[Row]) -> dict[tuple[str, str], _Fix]:
    """Per task and spelling at fault, what is wrong with it and what it probably means."""
    taxonomy = load_taxonomy(root)
    own = (root / TAXONOMY_FILE).is_file()
    names, fixes = LabelNames(taxonomy), dict[tuple[str, str], _Fix]()
    for task in TASKS:
        counts = Counter(value for row in rows if (value := row.cells.get(task, "")))
        listed = set(getattr(taxonomy, task))
        best: dict[str, str] = {}  # per way to spell: the label in the taxonomy, else the commonest
        for value in sorted(counts, key=lambda v: (v not in listed, -counts[v], v)):
            if SLUG.fullmatch(value):
                best.setdefault(plain_label(value), value)
        for label in listed:
            best[plain_label(label)] = label
        for value, count in counts.items():
            if looks_blank(value) and not (own and value in listed):
                fixes[task, value] = _Fix("blank_like_label", "", f"{task} {value!r}")
                continue
            slug = SLUG.fullmatch(value) is not None
            meant = best.get(plain_label(value)) or names.label(task, value)
            if not slug:
                meant = meant or names.read(task, value).label or slug_of(value) or ""
                fixes[task, value] = _Fix("bad_row", meant, "")
            elif best[plain_label(value)] != value:
                meant = best[plain_label(value)]
                what = f"{task} {value!r}, did you mean {meant}?"
                fixes[task, value] = _Fix("label_spelling", meant, what)
            elif count <= 2 and value not in listed and (near := _typo(value, counts, listed)):
                what = f"{task} {value!r}, did you mean {near}?"
                fixes[task, value] = _Fix("label_typo", value, what)
    return fixes


def _typo(value: str, counts: Mapping[str, int], listed: Iterable[str]) -> str | None:
    """A commoner or listed label that differs from a rare one in a letter or two."""
    others = {label for label, count in counts.items() if count > 3 * counts[value]}
    close = difflib.get_close_matches(value, sorted(others.union(listed) - {value}), 1, _TYPO)
    # Numbers in a label are no typing errors: jin_266_420 and jin_1115_1234.
    if not close or re.findall(r"\d+", close[0]) != re.findall(r"\d+", value):
        return None
    return close[0]


def _row(
    row: Row, fixes: Mapping[tuple[str, str], _Fix], notes: _Notes
) -> tuple[Record, Row] | None:
    """A row as it is and as it should be; None where it names no picture."""
    cells = dict(row.cells)
    given = cells["file_name"]
    slashed = given.replace("\\", "/")
    name = picture_path(slashed)
    if name is None:
        notes.bad_row(_DISORDER, given, row.line)
        notes.change(row.line, "", given, "", "left out: file_name is no path below the folder")
        return None
    if is_litter(name):
        notes.add("litter_row", repr(PurePosixPath(name).name), row.line, given)
        notes.change(row.line, "", given, "", "left out: not a picture of yours")
        return None
    if name != given:
        backslash = "\\" in given
        code, example = ("backslash_path", "a\\b.jpg") if backslash else ("dot_path", "./a.jpg")
        notes.add(code, f"as in {example}", row.line, given)
        notes.change(row.line, "file_name", given, name, "form of the path")
    cells["file_name"] = name
    labels: dict[str, str | None] = {}
    for task in TASKS:
        value = cells.get(task, "")
        fix = fixes.get((task, value))
        labels[task] = value if SLUG.fullmatch(value) else None
        if fix is None:
            continue
        if fix.code == "bad_row":
            fault = f"have a {task} that is not a lower-case slug such as blue_and_white"
            notes.bad_row(fault, f"{name} ({value})", row.line)
        else:
            notes.add(fix.code, fix.meant, row.line, f"{name} ({task} {value}, line {row.line})")
        if fix.after != value:
            why = "no label could be made of it" if fix.code == "bad_row" and not fix.after else ""
            notes.change(row.line, task, value, fix.after, why or fix.code.replace("_", " "))
            cells[task] = fix.after
    said = cells.get("synthetic", "").lower()
    if said not in TRUE_VALUES | FALSE_VALUES:
        fault = "have a synthetic that is neither true nor false"
        notes.bad_row(fault, f"{name} ({said})", row.line)
    extra = {key: value for key, value in row.cells.items() if key not in COLUMNS}
    record = Record(name, labels, cells.get("object_id") or None, said in TRUE_VALUES, extra)
    return record, Row(row.line, cells)


def _one_spelling_per_object(rows: list[Row], notes: _Notes) -> list[Row]:
    """The rows with one spelling of each object's number: the commonest, then the first."""
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if given := row.cells.get("object_id"):
            spellings[plain_object(given)][given] += 1
    corrected = []
    for row in rows:
        given = row.cells.get("object_id", "")
        usual = spellings[plain_object(given)].most_common(1)[0][0] if given else ""
        if given != usual:
            notes.add("object_spelling", f"{given!r}, did you mean {usual}?", row.line, given)
            notes.change(row.line, "object_id", given, usual, "object id spelled in two ways")
            row = Row(row.line, row.cells | {"object_id": usual})
        corrected.append(row)
    return corrected


def plain_object(text: str) -> str:
    """An object's number without what spellings vary: case, width, blanks and what joins parts."""
    return re.sub(r"[^\w]+|_+", "_", plain_label(text)).strip("_")
