"""Reading a `metadata.csv` that may be wrong: every fault is told, none stops the reading."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from pathlib import Path, PurePosixPath

from porcelain.dataset import (
    FALSE_VALUES,
    METADATA_FILE,
    SLUG,
    TRUE_VALUES,
    Dataset,
    Record,
    read_metadata,
)
from porcelain.errors import DatasetError
from porcelain.vocabulary import TASKS
from training.data.findings import Finding


def read_rows(root: Path) -> tuple[Dataset, list[Finding]]:
    """Read `metadata.csv`, leaving out what is not as the convention asks.

    Returns:
        The rows that can be used, wrong labels blank, and a finding per kind of fault.

    Raises:
        DatasetError: There is no such folder or file, it is not a CSV file in UTF-8, it lacks a
            needed column, or no row can be used.
    """
    try:
        return read_metadata(root), []
    except DatasetError as error:
        rows = _raw_rows(root / METADATA_FILE)
        if not rows or "file_name" not in rows[0] or not any(task in rows[0] for task in TASKS):
            raise
        faults: dict[str, list[str]] = defaultdict(list)
        records: dict[str, Record] = {}
        for line, row in enumerate(rows, start=2):
            record = _lenient(row, line, faults)
            if record is not None and record.file_name in records:
                faults["name a picture that an earlier row names"].append(record.file_name)
            elif record is not None:
                records[record.file_name] = record
        if not records or not faults:
            raise
        findings = [
            Finding(
                code="bad_row",
                severity="error",
                message=f"{len(names)} row(s) of {METADATA_FILE} {fault}.",
                files=names,
            )
            for fault, names in faults.items()
        ]
        if not findings:
            raise DatasetError(str(error)) from error
        return Dataset(root, tuple(records.values())), findings


def _raw_rows(path: Path) -> list[dict[str, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return []
    rows = list(csv.reader(io.StringIO(text)))
    if not rows:
        return []
    header = [column.strip() for column in rows[0]]
    # A row that is too long keeps what lies beyond the header under the empty name.
    return [
        {
            **dict(zip(header, (cell.strip() for cell in row), strict=False)),
            **({"": "more"} if len(row) > len(header) else {}),
        }
        for row in rows[1:]
        if row
    ]


def _lenient(row: dict[str, str], line: int, faults: dict[str, list[str]]) -> Record | None:
    cells = dict(row)
    name = cells.pop("file_name", "")
    if cells.pop("", None):
        faults["have more fields than the header; quote commas"].append(name or f"line {line}")
        return None
    pure = PurePosixPath(name)
    if not name or pure.is_absolute() or ".." in pure.parts or "\\" in name:
        faults["have a file_name that is not a path below the folder"].append(
            name or f"line {line}"
        )
        return None
    labels: dict[str, str | None] = {}
    for task in TASKS:
        value = cells.pop(task, "")
        if value and not SLUG.fullmatch(value):
            fault = f"have a {task} that is not a lower-case slug such as blue_and_white"
            faults[fault].append(f"{name} ({value})")
            value = ""
        labels[task] = value or None
    synthetic = cells.pop("synthetic", "").lower()
    if synthetic not in TRUE_VALUES | FALSE_VALUES:
        faults["have a synthetic that is neither true nor false"].append(f"{name} ({synthetic})")
    object_id = cells.pop("object_id", "") or None
    return Record(name, labels, object_id, synthetic in TRUE_VALUES, cells)
