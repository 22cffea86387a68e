"""`porcelain data merge`: reviewed corrections into a dataset folder, with who, when and from what.

A table of corrections is CSV with the columns `file_name`, `task`, `old_label`, `new_label`, `who`,
`when` and `why`; others are passed over, so that the tables of `porcelain data audit` can be filled
in. `new_label` blank: not decided. `-`: unknown from now on. Equal to `old_label`: confirmed.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from porcelain.dataset import (
    METADATA_FILE,
    SLUG,
    Dataset,
    Record,
    load_dataset,
    metadata_text,
    write_metadata,
)
from porcelain.errors import UserError
from porcelain.files import atomic_folder, check_free, write_text
from porcelain.tables import Row, read_csv

LOG_FILE: Final = "label-corrections.csv"
UNKNOWN: Final = "-"
COLUMNS: Final = ("file_name", "task", "old_label", "new_label", "who", "when", "why")
_NEEDED: Final = COLUMNS[:4]
BY: Final = "corrected_by"
AT: Final = "corrected_at"
FROM: Final = "corrected_from"


@dataclass(frozen=True)
class Correction:
    """One decision about one label; labels are blank where unknown, as in `metadata.csv`."""

    file_name: str
    task: str
    old_label: str
    new_label: str
    who: str
    when: str
    why: str = ""


class MergeReport(BaseModel):
    """What a merge did.

    Attributes:
        out: The folder written.
        changed: Labels that are others now, by task.
        pictures: That they belong to.
        confirmed: Decisions for the label that was there.
        undecided: Rows with a blank `new_label`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    out: str
    changed: dict[str, int]
    pictures: int
    confirmed: int
    undecided: int


def merge_corrections(
    data: Path,
    tables: Sequence[Path],
    out: Path,
    *,
    who: str | None = None,
    overwrite: bool = False,
    now: datetime | None = None,
) -> MergeReport:
    """Write a dataset folder with the corrections in it.

    Args:
        data: A dataset folder.
        tables: Of corrections, in the order in which they are applied.
        out: Where the folder is to appear; the dataset folder itself with `overwrite`, whose
            tables alone are replaced then, each atomically.
        who: Who decided, where a row does not say.
        overwrite: Replace what is at `out`.
        now: When, where a row does not say; None is the present.

    Raises:
        UserError: A row is not as it must be, or its old label is not the label there is; the
            message names file and line. Nothing is written then.
        DatasetError: Not a dataset folder.
    """
    dataset = load_dataset(data)
    in_place = out.exists() and out.resolve() == data.resolve()
    if in_place and not overwrite:
        raise UserError(f"{out} is the dataset itself; choose another --out or add --overwrite.")
    if not in_place:
        check_free(out, overwrite, (data, *tables))
    when = (now or datetime.now(UTC)).isoformat(timespec="seconds")
    records = {record.file_name: record for record in dataset.records}
    decided: list[Correction] = []
    undecided = 0
    for table in tables:
        for row in _rows(table):
            cells = dict.fromkeys(COLUMNS, "") | row.cells
            if not cells["new_label"]:
                undecided += 1
                continue
            place = f"{table} line {row.line}"
            one = _correction(cells, place, records, who=who, when=when)
            records[one.file_name] = _corrected(records[one.file_name], one)
            decided.append(one)
    if not decided:
        raise UserError(
            f"{', '.join(map(str, tables))}: no row has a new_label; write what you decided."
        )
    log = _log_text(data / LOG_FILE, decided)
    ordered = [records[record.file_name] for record in dataset.records]
    if in_place:
        # The log first: a correction that is logged and not yet in the table shows, and repeats.
        write_text(data / LOG_FILE, log)
        write_metadata(data, ordered)
    else:
        with atomic_folder(out, overwrite=overwrite) as folder:
            _copy_beside(dataset, folder)
            write_text(folder / METADATA_FILE, metadata_text(ordered))
            write_text(folder / LOG_FILE, log)
    changes = [one for one in decided if one.new_label != one.old_label]
    return MergeReport(
        out=str(out),
        changed=dict(Counter(one.task for one in changes)),
        pictures=len({one.file_name for one in changes}),
        confirmed=len(decided) - len(changes),
        undecided=undecided,
    )


def _rows(path: Path) -> Iterator[Row]:
    """The rows of a table of corrections, which must have the columns that decide.

    Raises:
        UserError: There is no such file, or it lacks a column or is no CSV file.
    """
    if not path.is_file():
        raise UserError(f"There is no {path}; give a CSV file of corrections.")
    columns, rows = read_csv(path)
    missing = [column for column in _NEEDED if column not in columns]
    if missing:
        raise UserError(
            f"{path} has no column {missing[0]}; a table of corrections has the columns "
            f"{','.join(COLUMNS)}."
        )
    return rows


def _correction(
    row: Mapping[str, str],
    place: str,
    records: Mapping[str, Record],
    *,
    who: str | None,
    when: str,
) -> Correction:
    """One row as a decision.

    Raises:
        UserError: It names no picture or task, no label, nobody, or an old label that is not there.
    """
    record = records.get(row["file_name"])
    if record is None:
        raise UserError(f"{place}: the dataset has no picture {row['file_name']!r}.")
    task = row["task"]
    if task not in record.labels:
        raise UserError(
            f"{place}: there is no task {task!r}; the tasks are {', '.join(record.labels)}."
        )
    new = "" if row["new_label"] == UNKNOWN else row["new_label"]
    if new and not SLUG.fullmatch(new):
        raise UserError(
            f"{place}: new_label {new!r} is not a lower-case slug such as blue_and_white, nor - "
            "for unknown."
        )
    old = "" if row["old_label"] == UNKNOWN else row["old_label"]
    current = record.labels[task] or ""
    if current != old:
        raise UserError(
            f"{place}: {task} of {record.file_name} is {current or 'blank'}, not "
            f"{old or 'blank'}; it has been changed since the table was made. Look again, and "
            "correct or delete the row."
        )
    decider = row["who"] or who
    if not decider:
        raise UserError(f"{place}: nobody is named in the column who; fill it in, or give --who.")
    return Correction(record.file_name, task, old, new, decider, row["when"] or when, row["why"])


def _corrected(record: Record, one: Correction) -> Record:
    """The row with the new label; further columns say who, when and what the label was."""
    if one.new_label == one.old_label:
        return record
    before = record.extra.get(FROM, "")
    change = f"{one.task}:{one.old_label or UNKNOWN}"
    extra = {
        **record.extra,
        BY: one.who,
        AT: one.when,
        FROM: f"{before};{change}" if before else change,
    }
    return replace(record, labels={**record.labels, one.task: one.new_label or None}, extra=extra)


def _log_text(path: Path, decided: Iterable[Correction]) -> str:
    """The log that is there, with the new decisions after it."""
    text = io.StringIO()
    if path.is_file():
        text.write(path.read_text(encoding="utf-8").rstrip("\n") + "\n")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    if not text.tell():
        writer.writeheader()
    for one in decided:
        writer.writerow(asdict(one))
    return text.getvalue()


def _copy_beside(dataset: Dataset, folder: Path) -> None:
    """Everything of the dataset folder but its tables; pictures as hard links where that works."""
    for path in sorted(dataset.root.rglob("*")):
        relative = path.relative_to(dataset.root)
        if path.is_dir() or str(relative) in (METADATA_FILE, LOG_FILE):
            continue
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, target)
        except OSError:
            shutil.copyfile(path, target)
