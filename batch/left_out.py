"""The files that a job passes over, each by name and with the reason; none goes in silence."""

from __future__ import annotations

import csv
import heapq
import io
import os
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Final

from batch.inputs import Source, dataset_rows, walk_store, walk_with_reasons
from batch.listing import sorted_on_disk
from batch.rows import printable
from porcelain.files import replace_when_written

NO_ROW: Final = "no row in metadata.csv"


def left_out_file(out: Path) -> Path:
    """Where they are named: beside the result."""
    return out.with_suffix(".left-out.csv")


def write_left_out(path: Path, source: Source, out: Path) -> int:
    """Name every file of a folder or store that has no row in the result.

    In a dataset folder these are pictures without a row in `metadata.csv`; elsewhere hidden files
    and those whose ending is no picture's.

    Args:
        path: A CSV file with the columns path and why; not written where there is nothing to say.
        source: What INPUT names.
        out: The result, which itself, and what stands beside it by its name, is passed over.

    Returns:
        How many there are.
    """
    count = 0
    with replace_when_written(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="", write_through=True)
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow(["path", "why"])
        for place, why in _left_out(source, path.parent):
            if not _is_ours(place, out):
                writer.writerow([printable(place), why])
                count += 1
        text.detach()
    if not count:
        path.unlink()
    return count


def _left_out(source: Source, folder: Path) -> Iterator[tuple[str, str]]:
    if source.kind in ("folder", "url"):
        walk = walk_with_reasons if source.kind == "folder" else walk_store
        yield from ((place, why) for place, why in walk(source.place) if why is not None)
    elif source.kind == "dataset" and source.table is not None:
        yield from ((place, NO_ROW) for place in _without_row(source.table, folder))


def _without_row(table: Path, folder: Path) -> Iterator[str]:
    """Pictures below a dataset folder that its table does not name, compared in sorted order."""
    root = table.parent
    named = (os.path.join(root, row["file_name"]) for row in dataset_rows(table))  # noqa: PTH118
    present = (place for place, why in walk_with_reasons(str(root)) if why is None)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".sorting.") as work:
        runs = []
        for name, places in (("named", named), ("present", present)):
            (Path(work) / name).mkdir()
            runs.append(sorted_on_disk(places, Path(work) / name))
        both = heapq.merge(
            ((place, False) for place in runs[0]), ((place, True) for place in runs[1])
        )
        for place, group in groupby(both, key=lambda one: one[0]):
            if all(there for _, there in group):
                yield place


def _is_ours(place: str, out: Path) -> bool:
    """Whether a file is the job's own: its result, what stands beside it, or unfinished work."""
    path = Path(place)
    ours = path.name.lstrip(".").startswith((out.name, f"{out.stem}.left-out", f"{out.stem}.obj"))
    return ours and path.parent == Path(os.path.abspath(out.parent))  # noqa: PTH100 - no links
