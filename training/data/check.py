"""Whether a dataset folder can be trained on without being misled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

from pydantic import BaseModel, ConfigDict

from porcelain.bundle import SPLIT_FILE
from porcelain.dataset import Dataset
from porcelain.errors import DatasetError
from porcelain.image_formats import IMAGE_SUFFIXES
from porcelain.vocabulary import TASKS
from training.data import findings
from training.data.duplicates import find_duplicates
from training.data.findings import Finding
from training.data.fingerprints import Fingerprint, fingerprint_dataset
from training.data.rows import MISLEADING, examine_rows, is_litter
from training.data.split import read_split

DEFAULT_MINIMUM: Final = 5

# How other tools name the folders, or the values of a `split` column, that stand for a part.
_PART_NAMES: Final = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


class CheckReport(BaseModel):
    """What a check found.

    Attributes:
        root: The folder.
        pictures: Rows in `metadata.csv`.
        readable: Pictures that decode.
        synthetic: Pictures declared synthetic, or marked so.
        split: What said which part a picture stands in; None where nothing did.
        parts: Pictures per part.
        labels: Real, readable or not, pictures per task and label.
        blank: Pictures per task whose label is unknown.
        findings: Every fault, errors first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: str
    pictures: int
    readable: int
    synthetic: int
    split: str | None
    parts: dict[str, int]
    labels: dict[str, dict[str, int]]
    blank: dict[str, int]
    findings: list[Finding]

    @property
    def errors(self) -> list[Finding]:
        """The findings for which training would fail or mislead."""
        return [finding for finding in self.findings if finding.severity == "error"]

    @property
    def exit_status(self) -> int:
        """0 where the folder can be trained on, 1 where that would mislead."""
        return 1 if self.errors else 0


def check_dataset(
    folder: Path,
    split: Path | None = None,
    minimum: int = DEFAULT_MINIMUM,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Read every picture and row of a dataset folder, and tell what is wrong.

    Args:
        folder: The dataset folder.
        split: A split file. None takes `split.json` in the folder; failing that a `split` column,
            or folders named train, validation (val) and test.
        minimum: Real pictures under which a class is reported as rare.
        workers: Threads; None takes one per core.
        on_progress: Called with the pictures read so far and their total.

    Raises:
        DatasetError: There is no such folder, `metadata.csv` cannot be read at all, or `split`
            is given and not a split file.
    """
    rows = examine_rows(folder)
    dataset, found = rows.dataset, rows.findings
    total = len(dataset)
    source, part_of, split_faults = _parts(dataset, split)
    progress = None if on_progress is None else (lambda done: on_progress(done, total))
    prints = fingerprint_dataset(dataset, workers, progress)
    found += [*findings.unreadable(prints), *findings.undeclared_synthetic(dataset, prints)]
    # A marked picture never counts as real, whatever its row says.
    dataset = _with_marks(dataset, prints)
    pairs = find_duplicates(prints)
    found += [
        *split_faults,
        *findings.leaks(dataset, prints, pairs, part_of),
        *findings.contradictions(dataset, prints, pairs),
        *findings.duplicates(prints, pairs),
        *findings.oddities(prints),
        *findings.labels(dataset, minimum),
        *_unlisted(dataset),
    ]
    real = Dataset(folder, tuple(r for r in dataset.records if not r.synthetic))
    parts = list(part_of.values())
    return CheckReport(
        root=str(folder),
        pictures=total,
        readable=sum(item.problem is None for item in prints),
        synthetic=sum(record.synthetic for record in dataset.records),
        split=source,
        parts={part: parts.count(part) for part in sorted(set(parts))},
        labels={task: dict(real.counts(task).most_common()) for task in TASKS},
        blank={task: sum(r.labels[task] is None for r in dataset.records) for task in TASKS},
        findings=sorted(found, key=lambda finding: finding.severity != "error"),
    )


def _with_marks(dataset: Dataset, prints: list[Fingerprint]) -> Dataset:
    pairs = zip(dataset.records, prints, strict=True)
    return Dataset(
        dataset.root,
        tuple(replace(r, synthetic=r.synthetic or item.marked) for r, item in pairs),
    )


def _parts(
    dataset: Dataset, path: Path | None
) -> tuple[str | None, Mapping[str, str], list[Finding]]:
    """Where the split is written, the part of each picture, and what is wrong with it."""
    beside = dataset.root / SPLIT_FILE
    if path is None and not beside.is_file():
        source, part_of = _declared_parts(dataset)
        return source, part_of, []
    try:
        parts = read_split(path or beside)
        part_of = parts.subset_by_name()
    except DatasetError as error:
        if path is not None:
            raise
        return None, {}, [Finding(code="bad_split", severity="error", message=str(error))]
    known = {record.file_name for record in dataset.records}
    odd = sorted(known ^ part_of.keys())
    faults = [] if odd else list(findings.parts(parts.real_sizes(dataset), parts.shares()))
    if odd:
        message = (
            f"{path or beside} and metadata.csv differ in {len(odd)} picture(s); split anew with "
            "`porcelain data split --overwrite`."
        )
        faults.append(Finding(code="bad_split", severity="error", message=message, files=odd))
    return str(path or beside), part_of, faults


def _declared_parts(dataset: Dataset) -> tuple[str | None, dict[str, str]]:
    """The parts that a `split` column or the names of folders declare, if they name a test."""
    column = {r.file_name: r.extra.get("split", "").lower() for r in dataset.records}
    folder = {r.file_name: _part_folder(r.file_name) for r in dataset.records}
    for source, words in (("the split column", column), ("the folders' names", folder)):
        parts = {name: _PART_NAMES[word] for name, word in words.items() if word in _PART_NAMES}
        if len(set(parts.values())) > 1:
            return source, parts
    return None, {}


def _part_folder(name: str) -> str:
    folders = (part.lower() for part in PurePosixPath(name).parts[:-1])
    return next((part for part in folders if part in _PART_NAMES), "")


def _unlisted(dataset: Dataset) -> Iterator[Finding]:
    """Pictures without a row, and what other programs left in the folder."""
    listed = {record.file_name for record in dataset.records}
    present = sorted(
        path.relative_to(dataset.root).as_posix()
        for path in dataset.root.rglob("*")
        if path.is_file()
    )
    litter = [name for name in present if is_litter(name)]
    names = [
        name
        for name in present
        if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
        and name not in listed
        and not is_litter(name)
    ]
    if names:
        message = f"{len(names)} picture(s) in the folder have no row and are not used; add rows."
        yield Finding(code="unlisted_file", severity="warning", message=message, files=names)
    if litter:
        message = (
            f"{len(litter)} file(s) are what macOS, Windows or a NAS leave beside pictures, first "
            f"{litter[0]}; delete them."
        )
        yield Finding(code="litter", severity="warning", message=message, files=litter)


def refuse_misleading(folder: Path, split: Path | None = None) -> None:
    """Refuse to train on what would be learned wrongly without a word.

    Looked at are the rows and, where a split is given or lies in the folder, copies and objects in
    several of its parts. A split that training makes itself keeps those together.

    Args:
        folder: A dataset folder.
        split: A split file; `split.json` in the folder if None.

    Raises:
        DatasetError: Naming the first fault and `porcelain data check`.
    """
    rows = examine_rows(folder)
    found = [finding for finding in rows.findings if finding.code in MISLEADING]
    place = split or folder / SPLIT_FILE
    if not found and place.is_file():
        part_of = read_split(place).subset_by_name()
        prints = fingerprint_dataset(rows.dataset)
        found = list(findings.leaks(rows.dataset, prints, find_duplicates(prints), part_of))
    if found:
        raise DatasetError(
            f"Training on {folder} would mislead: {found[0].message} `porcelain data check "
            f"{folder}` tells where; with --fix OUT it writes a corrected copy."
        )
