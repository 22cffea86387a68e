"""The dataset folder: pictures and `metadata.csv`, as Hugging Face's imagefolder reads it.

Source of the convention: https://huggingface.co/docs/datasets/image_dataset#imagefolder
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from porcelain.errors import DatasetError
from porcelain.files import write_text
from porcelain.tables import Row, read_csv
from porcelain.vocabulary import TASKS

METADATA_FILE = "metadata.csv"
SLUG = re.compile(r"[a-z0-9]+(?:[_-][a-z0-9]+)*")
TRUE_VALUES = frozenset({"true", "1", "yes"})
FALSE_VALUES = frozenset({"false", "0", "no", ""})


@dataclass(frozen=True)
class Record:
    """One row of `metadata.csv`.

    Attributes:
        file_name: Path of the picture below the folder, with forward slashes.
        labels: Slug per task; None where unknown.
        object_id: Photographs of one object share it; None where not recorded.
        synthetic: Whether the row declares the picture to be generated.
        extra: Every other column, as text.
    """

    file_name: str
    labels: dict[str, str | None]
    object_id: str | None = None
    synthetic: bool = False
    extra: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """A dataset folder that has been read: its place and its rows, in file order."""

    root: Path
    records: tuple[Record, ...]

    def __len__(self) -> int:
        return len(self.records)

    def path(self, record: Record) -> Path:
        """Where the picture of `record` is."""
        return self.root / record.file_name

    def counts(self, task: str) -> Counter[str]:
        """How many pictures carry each known label of `task`."""
        labels = (record.labels[task] for record in self.records)
        return Counter(label for label in labels if label is not None)

    def classes(self, task: str) -> list[str]:
        """The labels of `task` that occur, sorted: the index order of heads and outputs."""
        return sorted(self.counts(task))

    def digest(self) -> str:
        """SHA-256 over every row's name, labels and picture bytes, independent of row order."""
        lines = []
        for record in self.records:
            content = hashlib.sha256(self.path(record).read_bytes()).hexdigest()
            labels = ",".join(record.labels[task] or "" for task in TASKS)
            lines.append(f"{record.file_name},{labels},{record.object_id or ''},{content}")
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def load_dataset(root: Path) -> Dataset:
    """Read a dataset folder; pictures are not opened, but each must exist.

    Raises:
        DatasetError: The folder, its `metadata.csv`, a column, a file or a label is not as the
            convention asks. The message names the first rows at fault.
    """
    dataset = read_metadata(root)
    missing = [r.file_name for r in dataset.records if not dataset.path(r).is_file()]
    if missing:
        raise DatasetError(
            f"{root / METADATA_FILE} names {len(missing)} file(s) that do not exist, "
            f"first {missing[0]}; restore them or delete their rows."
        )
    return dataset


def read_metadata(root: Path) -> Dataset:
    """Read and check `metadata.csv` alone, whether or not the pictures exist.

    Raises:
        DatasetError: As `load_dataset`, except for missing pictures.
    """
    path = root / METADATA_FILE
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder; give a folder of pictures with {path.name}.")
    if not path.is_file():
        raise DatasetError(
            f"{root} has no {METADATA_FILE}; write one with the columns "
            f"file_name,{','.join(TASKS)} (blank = unknown)."
        )
    columns, rows = read_csv(path)
    if "file_name" not in columns:
        raise DatasetError(
            f"{path} has no column file_name{_nearly(columns, 'file_name')}. {_ask_check(root)}"
        )
    if not any(task in columns for task in TASKS):
        raise DatasetError(
            f"{path} has none of the label columns {', '.join(TASKS)}"
            f"{_nearly(columns, *TASKS)}. {_ask_check(root)}"
        )
    records: list[Record] = []
    line_of: dict[str, int] = {}
    for row in rows:
        record = _record(row, path)
        if record.file_name in line_of:
            raise DatasetError(
                f"{path} names {record.file_name} more than once (lines "
                f"{line_of[record.file_name]} and {row.line}); keep one row per picture."
            )
        line_of[record.file_name] = row.line
        records.append(record)
    if not records:
        raise DatasetError(f"{path} has no rows.")
    return Dataset(root, tuple(records))


def write_metadata(root: Path, records: Iterable[Record]) -> None:
    """Write `metadata.csv` atomically; optional columns appear where any row has them."""
    write_text(root / METADATA_FILE, metadata_text(records))


def metadata_text(records: Iterable[Record]) -> str:
    """The content of `metadata.csv` for these rows."""
    rows = list(records)
    extra = sorted({column for record in rows for column in record.extra})
    columns = ["file_name", *TASKS]
    if any(record.object_id for record in rows):
        columns.append("object_id")
    if any(record.synthetic for record in rows):
        columns.append("synthetic")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns + extra)
    for record in rows:
        values: list[str] = []
        for column in columns:
            if column == "file_name":
                values.append(record.file_name)
            elif column in TASKS:
                values.append(record.labels[column] or "")
            elif column == "object_id":
                values.append(record.object_id or "")
            else:
                values.append("true" if record.synthetic else "false")
        writer.writerow(values + [record.extra.get(column, "") for column in extra])
    return text.getvalue()


def subset(dataset: Dataset, names: Iterable[str]) -> Dataset:
    """The same folder with only the rows whose `file_name` is in `names`, in file order."""
    wanted = frozenset(names)
    return Dataset(dataset.root, tuple(r for r in dataset.records if r.file_name in wanted))


def label_indices(records: Sequence[Record], classes: dict[str, list[str]]) -> list[list[int]]:
    """Class index per record and task ([N, 4]); -1 where unknown or not among `classes`."""
    index = {task: {label: i for i, label in enumerate(classes[task])} for task in TASKS}
    return [[index[task].get(r.labels[task] or "", -1) for task in TASKS] for r in records]


def picture_path(text: str) -> str | None:
    """A cell of `file_name` as the path it stands for (`./a.jpg` is `a.jpg`).

    Returns:
        The path below the folder, or None where it is none.
    """
    pure = PurePosixPath(text)
    if not text or pure.is_absolute() or ".." in pure.parts or "\\" in text or not pure.name:
        return None
    return str(pure)


def _record(row: Row, path: Path) -> Record:
    cells = dict(row.cells)
    given = cells.pop("file_name")
    name = picture_path(given)
    if name is None:
        raise DatasetError(
            f"{path} line {row.line}: file_name {given!r} must be a path below the folder, with "
            f"forward slashes. {_ask_check(path.parent)}"
        )
    labels: dict[str, str | None] = {}
    for task in TASKS:
        value = cells.pop(task, "")
        if value and not SLUG.fullmatch(value):
            raise DatasetError(
                f"{path} line {row.line}: {task} {value!r} is not a lower-case slug such as "
                f"blue_and_white. {_ask_check(path.parent)}"
            )
        labels[task] = value or None
    synthetic = cells.pop("synthetic", "").lower()
    if synthetic not in TRUE_VALUES | FALSE_VALUES:
        raise DatasetError(
            f"{path} line {row.line}: synthetic {synthetic!r} must be true or false."
        )
    object_id = cells.pop("object_id", "") or None
    return Record(name, labels, object_id, synthetic in TRUE_VALUES, cells)


def plain_name(column: str) -> str:
    """A column's name without what people vary: case, width, blanks, hyphens, underscores."""
    return re.sub(r"[\s_\-]+", "", unicodedata.normalize("NFKC", column)).casefold()


def _nearly(columns: Iterable[str], *wanted: str) -> str:
    plain = {plain_name(name): name for name in wanted}
    near = next((column for column in columns if plain_name(column) in plain), None)
    return f", but {near!r}: write {plain[plain_name(near)]}" if near is not None else ""


def _ask_check(root: Path) -> str:
    return f"`porcelain data check {root}` tells every fault, and mends them with --fix."
