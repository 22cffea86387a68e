"""A result in parts: each is a file that is there whole or not at all, and holds fixed rows.

Part k holds the rows of inputs k x size to (k + 1) x size. Whatever interrupts a job, a part that
is there is never made again, and no row is in two of them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from porcelain.files import replace_when_written

METADATA_KEY: Final = b"porcelain.batch"
_FOLDER: Final = "parts"
_COMPRESSION: Final = "zstd"


def has_parts(work: Path) -> bool:
    """Whether there is a part in a folder for unfinished work."""
    return any((work / _FOLDER).glob("part-*.parquet"))


def remove_parts(work: Path) -> None:
    """Remove every part."""
    shutil.rmtree(work / _FOLDER, ignore_errors=True)


class Parts:
    """The parts of one result."""

    def __init__(self, work: Path, size: int, total: int) -> None:
        """Look at what is there.

        Args:
            work: The folder for unfinished work.
            size: Rows of a part.
            total: Rows of all.
        """
        self._folder = work / _FOLDER
        self._size = size
        self._total = total
        self.count = -(-total // size)
        self._whole = {number for number in range(self.count) if self._is_whole(number)}

    @property
    def rows_done(self) -> int:
        """Rows in the parts that are there."""
        return sum(self._rows_of(number) for number in self._whole)

    @property
    def done(self) -> int:
        """Parts that are there."""
        return len(self._whole)

    def paths(self) -> Iterator[Path]:
        """The files of the parts that are there, in order."""
        return (self._path(number) for number in sorted(self._whole))

    def missing(self, entries: Iterator[Any]) -> Iterator[tuple[int, Any]]:
        """The inputs whose rows are not there, with their places.

        Args:
            entries: All inputs.
        """
        for number in range(self.count):
            if number in self._whole:
                next(islice(entries, self._rows_of(number) - 1, None), None)
            else:
                start = number * self._size
                yield from enumerate(islice(entries, self._rows_of(number)), start)

    def save(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Write rows as parts; they come in the order of `missing`.

        Args:
            tables: Of any length.

        Yields:
            Each table that was taken, its part written if it ended one.
        """
        held: list[pa.Table] = []
        rows = 0
        missing = [number for number in range(self.count) if number not in self._whole]
        numbers = iter(missing)
        number = next(numbers, None)
        for table in tables:
            rest = table
            while number is not None and len(rest):
                taken = rest.slice(0, self._rows_of(number) - rows)
                rest = rest.slice(len(taken))
                held.append(taken)
                rows += len(taken)
                if rows == self._rows_of(number):
                    self._write(number, pa.concat_tables(held))
                    held, rows, number = [], 0, next(numbers, None)
            yield table

    def _write(self, number: int, table: pa.Table) -> None:
        with replace_when_written(self._path(number)) as file:
            pq.write_table(table.combine_chunks(), file, compression=_COMPRESSION)
        self._whole.add(number)

    def _path(self, number: int) -> Path:
        return self._folder / f"part-{number:06}.parquet"

    def _rows_of(self, number: int) -> int:
        return min(self._size, self._total - number * self._size)

    def _is_whole(self, number: int) -> bool:
        """Whether the file is there and holds all rows; a power failure can leave it damaged."""
        try:
            return bool(pq.read_metadata(self._path(number)).num_rows == self._rows_of(number))
        except (OSError, pa.ArrowInvalid):
            return False


def write_tables(
    file: BinaryIO, tables: Iterable[pa.Table], schema: pa.Schema, facts: Mapping[str, Any]
) -> None:
    """Write tables as one Parquet file, one of them in memory at a time.

    Args:
        file: To write into.
        tables: In order, each of `schema` or with columns that can become so.
        schema: Of the file.
        facts: JSON-ready, kept in the file's metadata; see `facts_of`.
    """
    schema = schema.with_metadata({METADATA_KEY: json.dumps(facts)})
    with pq.ParquetWriter(file, schema, compression=_COMPRESSION) as writer:
        for table in tables:
            writer.write_table(table.cast(schema))


def read_part(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a part, or some of their columns."""
    # Not pq.read_table, which imports pandas if it is installed.
    with pq.ParquetFile(path) as file:
        return file.read(columns=columns, use_threads=False)


def facts_of(path: Path) -> dict[str, Any]:
    """What `write_tables` kept in a file; empty for any other file."""
    try:
        metadata = pq.read_schema(path).metadata or {}
        found = json.loads(metadata.get(METADATA_KEY, b"{}"))
    except (OSError, ValueError):  # Arrow's errors are among them
        return {}
    return found if isinstance(found, dict) else {}
