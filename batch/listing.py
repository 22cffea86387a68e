"""The listing of a job's inputs, taken once and kept on disk, so that parts mean the same for ever.

A job that goes on must see the same inputs in the same order, whatever has been added since; and
its end can only be told when their number is known. Folders are sorted, in bounded memory.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final

from batch.inputs import LEFT_OUT, STANDARD_INPUT, Source
from porcelain.errors import UserError
from porcelain.files import replace_when_written, write_json

ENTRIES_FILE: Final = "inputs.jsonl"
TAKEN_FILE: Final = "taken.jsonl"
LISTING_FILE: Final = "listing.json"
SORTED_AT_ONCE = 100_000
"""Locations sorted in memory at a time: about 20 MB."""


@dataclass(frozen=True)
class Listing:
    """A listing on disk.

    Attributes:
        path: One JSON string a line, which holds any file name.
        count: Of the lines.
        digest: SHA-256 over the lines.
        left_out: Files that did not look like pictures.
    """

    path: Path
    count: int
    digest: str
    left_out: int

    def entries(self) -> Iterator[str]:
        """Every location, in order."""
        with self.path.open(encoding="ascii") as file:
            for line in file:
                yield json.loads(line)


def open_listing(
    folder: Path, source: Source, *, begun: bool, overwrite: bool
) -> tuple[Listing, bool]:
    """The listing that a job works through.

    A walk is not repeated once there are parts. A list or table is read again, because its order
    and content are the user's own: it must be what it was.

    Args:
        folder: For unfinished work.
        source: What INPUT names.
        begun: Whether there are parts that follow the listing that is kept.
        overwrite: Whether a list that has changed may take its place.

    Returns:
        The listing, and whether the parts that are there follow it.

    Raises:
        UserError: There is no picture, or a list has changed.
    """
    kept = _kept(folder) if begun else None
    if kept is not None and not source.ordered:
        return kept, True
    taken = _take(folder, source)
    if kept is not None and taken.digest == kept.digest:
        taken.path.unlink()
        return kept, True
    place = "Standard input" if source.place == STANDARD_INPUT else source.place
    if kept is not None and not overwrite:
        taken.path.unlink()
        raise UserError(
            f"{place} names other pictures than when this job began; give the same ones, or add "
            "--overwrite to begin anew."
        )
    if taken.count == 0:
        others = f" ({taken.left_out} files of other kinds)" if taken.left_out else ""
        raise UserError(f"{place} has no pictures{others}; give another INPUT.")
    return taken, False


def keep_listing(listing: Listing) -> Listing:
    """Make a listing that was just taken the one that parts follow from now on."""
    folder = listing.path.parent
    path = listing.path.replace(folder / ENTRIES_FILE)
    facts = {"count": listing.count, "digest": listing.digest, "left_out": listing.left_out}
    write_json(folder / LISTING_FILE, facts)
    return replace(listing, path=path)


def _kept(folder: Path) -> Listing | None:
    try:
        facts = json.loads((folder / LISTING_FILE).read_text())
    except FileNotFoundError:
        return None
    return Listing(folder / ENTRIES_FILE, facts["count"], facts["digest"], facts["left_out"])


def _take(folder: Path, source: Source) -> Listing:
    counts: Counter[str] = Counter()
    path, count, digest = folder / TAKEN_FILE, 0, hashlib.sha256()
    with ExitStack() as stack:
        locations = source.locations(counts)
        if not source.ordered:
            runs = stack.enter_context(tempfile.TemporaryDirectory(dir=folder, prefix=".sorting."))
            locations = sorted_on_disk(locations, Path(runs))
        with replace_when_written(path) as file:
            for line in _encoded(locations):
                file.write(line)
                digest.update(line)
                count += 1
    return Listing(path, count, digest.hexdigest(), counts[LEFT_OUT])


def sorted_on_disk(
    texts: Iterable[str], folder: Path, at_once: int = SORTED_AT_ONCE
) -> Iterator[str]:
    """Sort any number of texts: runs of `at_once` are sorted, written to `folder`, and merged."""
    iterator, runs = iter(texts), list[Path]()
    while chunk := sorted(islice(iterator, at_once)):
        if not runs and len(chunk) < at_once:
            yield from chunk
            return
        runs.append(folder / str(len(runs)))
        with runs[-1].open("wb") as file:
            file.writelines(_encoded(chunk))
    with ExitStack() as stack:
        files = [stack.enter_context(run.open("rb")) for run in runs]
        yield from heapq.merge(*(map(json.loads, file) for file in files))


def _encoded(locations: Iterable[str]) -> Iterator[bytes]:
    for location in locations:
        yield json.dumps(location).encode() + b"\n"
