"""What INPUT names, and the locations of its pictures one after another.

Nothing here holds a whole collection: folders are walked entry by entry, lists and tables are
read line by line.
"""

from __future__ import annotations

import codecs
import glob
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TextIO

import pyarrow.fs

from batch.reading import is_url, open_filesystem, url_of
from porcelain.dataset import METADATA_FILE, picture_path
from porcelain.errors import DatasetError, UserError
from porcelain.image_formats import IMAGE_SUFFIXES, sniff
from porcelain.tables import Row, read_csv

Kind = Literal["folder", "dataset", "table", "glob", "list", "url", "picture"]

STANDARD_INPUT: Final = "-"
LEFT_OUT: Final = "left out"
HIDDEN: Final = "hidden"


@dataclass(frozen=True)
class Source:
    """What INPUT names.

    Attributes:
        kind: How it is read.
        place: An absolute path or pattern, a URL, or `-`.
    """

    kind: Kind
    place: str

    @property
    def ordered(self) -> bool:
        """Whether its order is the user's own, to be kept."""
        return self.kind in ("list", "dataset", "table")

    @property
    def table(self) -> Path | None:
        """The owner's table, which has a row for each picture; None where there is none."""
        places = {"dataset": Path(self.place) / METADATA_FILE, "table": Path(self.place)}
        return places.get(self.kind)

    @property
    def root(self) -> str | None:
        """The URL whose file system the locations are read from."""
        return self.place if self.kind == "url" else None

    def locations(self, counts: Counter[str]) -> Iterator[str]:
        """Every picture's location.

        Args:
            counts: Counts under `LEFT_OUT` the files that do not look like pictures.

        Raises:
            UserError: The list or store cannot be read.
            DatasetError: `metadata.csv` is not as the convention asks.
        """
        ways: dict[Kind, Callable[[], Iterator[str]]] = {
            "folder": lambda: _counted(walk_with_reasons(self.place), counts),
            "dataset": lambda: _dataset(self.table or Path()),
            "table": lambda: _dataset(self.table or Path()),
            "glob": lambda: _glob(self.place),
            "list": lambda: _lines(self.place),
            "url": lambda: _counted(walk_store(self.place), counts),
            "picture": lambda: iter([self.place]),
        }
        return ways[self.kind]()


def recognise(text: str) -> Source:
    """Tell a folder, dataset folder, pattern, list, picture and URL apart.

    Raises:
        UserError: There is nothing of that name.
    """
    if text == STANDARD_INPUT:
        return Source("list", text)
    if is_url(text):
        return Source("url", text)
    path = Path(text)
    place = os.path.abspath(text)  # noqa: PTH100 - resolve() would follow links
    if path.is_dir():
        return Source("dataset" if (path / METADATA_FILE).is_file() else "folder", place)
    if path.is_file():
        with path.open("rb") as file:
            if sniff(file.read(256)):
                return Source("picture", place)
        return Source("table" if _is_table(path) else "list", place)
    if glob.has_magic(text):
        return Source("glob", place)
    raise UserError(
        f"There is no {text}; give a folder, a pattern in quotes, a list of paths (- for standard "
        "input) or a URL such as s3://bucket/folder."
    )


def _counted(places: Iterator[tuple[str, str | None]], counts: Counter[str]) -> Iterator[str]:
    """The pictures among them; others are counted, but for hidden ones."""
    for place, why in places:
        if why is None:
            yield place
        else:
            counts[LEFT_OUT] += why != HIDDEN


def walk_with_reasons(folder: str) -> Iterator[tuple[str, str | None]]:
    """Every file below a folder, and why it is passed over: None for a picture.

    Links to folders are followed, each folder once. Of a hidden folder only its name is told.
    """
    waiting, seen = [folder], set[tuple[int, int]]()
    while waiting:
        place = waiting.pop()
        try:
            status = os.stat(place)  # noqa: PTH116 - this and scandir cost no objects
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        yield entry.path, HIDDEN
                    elif _is_folder(entry):
                        waiting.append(entry.path)
                    else:
                        yield entry.path, _why_not(entry.name)
        except OSError:
            yield place, None  # a row that says why it cannot be read


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle: reading it will say so
        return False


def _why_not(name: str) -> str | None:
    """Why a file is no picture by its name; None where it is one."""
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a million times
    if suffix in IMAGE_SUFFIXES:
        return None
    return f"{suffix} is no picture's ending" if suffix else "no ending"


def _glob(pattern: str) -> Iterator[str]:
    """Whatever a pattern matches but folders."""
    for path in glob.iglob(pattern, recursive=True):  # noqa: PTH207 - Path.glob takes no absolute
        if not os.path.isdir(path):  # noqa: PTH112 - a million times
            yield path


def _is_table(path: Path) -> bool:
    """Whether a file is a table with the column `file_name`, and no list of paths."""
    if path.suffix.lower() != ".csv":
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        names = file.readline(1_000_000).split(",")
    return "file_name" in [name.strip().strip('"') for name in names]


def _dataset(table: Path) -> Iterator[str]:
    """The pictures that a table names, in its order."""
    for row in dataset_rows(table):
        yield os.path.join(table.parent, row["file_name"])  # noqa: PTH118 - a million times


def owner_rows(table: Path) -> tuple[list[str], Iterator[tuple[str, list[str]]]]:
    """The columns of an owner's table; and of each row where its picture is, and its cells as read.

    Raises:
        DatasetError: It is not as the convention asks.
    """
    columns, rows = _table_rows(table)
    return columns, (
        (os.path.join(table.parent, name), [row.raw[column] for column in columns])  # noqa: PTH118
        for name, row in rows
    )


def dataset_rows(table: Path) -> Iterator[dict[str, str]]:
    """The rows of `metadata.csv`, line by line, with `file_name` as a path below the folder.

    Raises:
        DatasetError: It is not as the convention asks.
    """
    for name, row in _table_rows(table)[1]:
        yield row.cells | {"file_name": name}


def _table_rows(path: Path) -> tuple[list[str], Iterator[tuple[str, Row]]]:
    columns, rows = read_csv(path)
    if "file_name" not in columns:
        raise DatasetError(f"{path} has no column file_name.")
    return columns, _named(path, rows)


def _named(path: Path, rows: Iterator[Row]) -> Iterator[tuple[str, Row]]:
    """Rows with the paths of their pictures below the table's folder."""
    for row in rows:
        name = picture_path(row.cells["file_name"])
        if name is None:
            raise DatasetError(
                f"{path} line {row.line}: file_name {row.cells['file_name']!r} must be a path "
                "below the folder."
            )
        yield name, row


def _lines(place: str) -> Iterator[str]:
    """The paths and URLs of a list, one a line; relative ones from the current folder."""
    with ExitStack() as stack:
        file: TextIO
        if place == STANDARD_INPUT:
            file = sys.stdin
            if hasattr(file, "reconfigure"):
                file.reconfigure(encoding="utf-8", errors="surrogateescape")
        else:
            file = stack.enter_context(_open_list(Path(place)))
        for number, line in enumerate(file, start=1):
            if "\0" in line:
                raise UserError(f"{place} line {number} is no path; give a text file of paths.")
            if text := (line.removeprefix("\ufeff") if number == 1 else line).strip("\r\n"):
                yield text if is_url(text) else os.path.abspath(text)  # noqa: PTH100


def _open_list(path: Path) -> TextIO:
    """A list in UTF-8, in which a path may hold any bytes; or in UTF-16, as PowerShell writes."""
    with path.open("rb") as file:
        utf16 = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    if utf16:
        return path.open(encoding="utf-16")
    return path.open(encoding="utf-8", errors="surrogateescape")


def walk_store(url: str) -> Iterator[tuple[str, str | None]]:
    """Every file below a URL, or the one that it names, and why it is passed over.

    A folder's listing is held at a time.

    Raises:
        UserError: There is nothing, or it cannot be listed.
    """
    filesystem, root = open_filesystem(url)
    try:
        first = filesystem.get_file_info(root)
        if first.type == pyarrow.fs.FileType.NotFound:
            raise UserError(f"There is nothing at {url}.")
        if first.type == pyarrow.fs.FileType.File:
            yield url_of(url, first.path), None
            return
        waiting = [root]
        while waiting:
            for info in filesystem.get_file_info(pyarrow.fs.FileSelector(waiting.pop())):
                if info.type == pyarrow.fs.FileType.Directory:
                    waiting.append(info.path)
                else:
                    yield url_of(url, info.path), _why_not(info.base_name)
    except OSError as error:
        raise UserError(f"{url} cannot be listed: {str(error).partition(chr(10))[0]}") from error
