"""The dataset folder: pictures and `metadata.csv`, as Hugging Face's imagefolder reads it.

Source of the convention: https://huggingface.co/docs/datasets/image_dataset#imagefolder
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from porcelain.errors import DatasetError
from porcelain.files import write_text
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
    try:
        # utf-8-sig: spreadsheet programs begin a CSV with a byte order mark.
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8; save it as CSV UTF-8.") from error
    reader = csv.DictReader(io.StringIO(text))
    columns = [column.strip() for column in reader.fieldnames or []]
    if "file_name" not in columns:
        raise DatasetError(f"{path} has no column file_name.")
    if not any(task in columns for task in TASKS):
        raise DatasetError(f"{path} has none of the label columns {', '.join(TASKS)}.")
    reader.fieldnames = columns
    records = tuple(_record(row, line, path) for line, row in enumerate(reader, start=2))
    if not records:
        raise DatasetError(f"{path} has no rows.")
    repeated = [name for name, n in Counter(r.file_name for r in records).items() if n > 1]
    if repeated:
        raise DatasetError(f"{path} names {repeated[0]} more than once; keep one row per picture.")
    return Dataset(root, records)


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


def _record(row: dict[str, str | None], line: int, path: Path) -> Record:
    if None in row:
        raise DatasetError(f"{path} line {line} has more fields than the header; quote commas.")
    cells = {column: (value or "").strip() for column, value in row.items()}
    name = cells.pop("file_name")
    pure = PurePosixPath(name)
    if not name or pure.is_absolute() or ".." in pure.parts or "\\" in name:
        raise DatasetError(
            f"{path} line {line}: file_name {name!r} must be a path below the folder."
        )
    labels: dict[str, str | None] = {}
    for task in TASKS:
        value = cells.pop(task, "")
        if value and not SLUG.fullmatch(value):
            raise DatasetError(
                f"{path} line {line}: {task} {value!r} is not a lower-case slug such as "
                "blue_and_white."
            )
        labels[task] = value or None
    synthetic = cells.pop("synthetic", "").lower()
    if synthetic not in TRUE_VALUES | FALSE_VALUES:
        raise DatasetError(f"{path} line {line}: synthetic {synthetic!r} must be true or false.")
    object_id = cells.pop("object_id", "") or None
    return Record(name, labels, object_id, synthetic in TRUE_VALUES, cells)
