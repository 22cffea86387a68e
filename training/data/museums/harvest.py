"""A museum's raw records: from its dump or API, or from files that the user has."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, Final, TextIO, cast
from urllib.parse import quote

import httpx

from porcelain.errors import UserError
from training.data.museums.fetch import Fetcher, MissingError
from training.data.museums.museum import Museum, Source
from training.data.museums.paths import values

Raw = dict[str, Any]


def harvest(
    museum: Museum,
    fetcher: Fetcher,
    max_age: timedelta,
    on_missing: Callable[[str, str], None] = lambda url, why: None,
) -> Iterator[Raw]:
    """Every record that the museum's source lists, page by page.

    Records that it lists and does not give are left out: they vanished meanwhile, or it refuses.

    Args:
        museum: Entry of the table.
        fetcher: Asks the museum.
        max_age: How old a cached answer may be.
        on_missing: Hears the address of each record that was not given, and why.

    Raises:
        UserError: The museum has no source, wants a key, does not answer, or answers in another
            form than the table says.
    """
    if museum.source is None:
        raise UserError(
            f"{museum.name} has no address to fetch records from; give its dump with --records. "
            f"{museum.terms}"
        )
    source, secret = museum.source, _secret(museum)
    for item in _items(museum, source, fetcher, max_age, secret):
        if source.each is None:
            if isinstance(item, dict):
                yield item
            continue
        url = source.each.replace("{id}", quote(str(item), safe=""))
        try:
            answer = fetcher.json(url, max_age=max_age, secret=secret)
        except MissingError as error:
            on_missing(url, str(error))
            continue
        found = [answer] if source.each_record is None else values(answer, source.each_record)
        yield from (record for record in found if isinstance(record, dict))


def _items(
    museum: Museum,
    source: Source,
    fetcher: Fetcher,
    max_age: timedelta,
    secret: dict[str, str],
) -> Iterator[Any]:
    """The records, or their ids, of all pages.

    A page without any ends the list, and one that is the page before again: such a museum gives
    everything at once, whatever page is asked for.
    """
    after = 0
    before: list[Any] = []
    for page in count():
        url = _page_url(source, page, after)
        try:
            answer = fetcher.json(url, max_age=max_age, secret=secret)
        except MissingError as error:
            raise UserError(f"{museum.name} does not give its records ({url}): {error}.") from error
        found = values(answer, source.records)
        if page == 0 and not found:
            raise UserError(f"{museum.name} lists no records at {url}; has its API changed?")
        if found == before:
            return
        before = found
        yield from found
        if source.paging is None or not found:
            return
        if source.paging.by == "cursor":
            places = [v for item in found for v in values(item, source.paging.path)]
            last = max((v for v in places if isinstance(v, int)), default=0)
            if last <= after:
                return
            after = last


def _page_url(source: Source, page: int, after: object) -> str:
    query = quote(source.query.replace("{after}", str(after)))
    url = httpx.URL(source.url.replace("{query}", query))
    paging = source.paging
    if paging is None or paging.by == "cursor":
        return str(url)
    number = page * paging.size if paging.by == "skip" else page + 1
    parameters = {paging.parameter: str(number), paging.size_parameter: str(paging.size)}
    return str(url.copy_merge_params(parameters))


def _secret(museum: Museum) -> dict[str, str]:
    if museum.key is None:
        return {}
    value = os.environ.get(museum.key.variable, "").strip()
    if not value:
        raise UserError(
            f"{museum.name} wants an API key; put yours into the environment variable "
            f"{museum.key.variable}. {museum.terms}"
        )
    return {museum.key.parameter: value}


def read_files(museum: Museum, path: Path) -> Iterator[Raw]:
    """Every record in a file, or in all files below a folder: JSON, JSON lines or CSV.

    Any of them may be packed with bzip2 or gzip. Lines and rows are read as they are asked for.

    Raises:
        UserError: There is no such file, or it cannot be read; the message names file and line.
    """
    if path.is_dir():
        paths = sorted(p for p in path.rglob("*") if _reader(p) is not None and p.is_file())
    else:
        paths = [path]
    if not paths or not all(p.is_file() for p in paths):
        raise UserError(f"{path} holds no records; give {_KINDS}, or a folder of them.")
    for file in paths:
        reader = _reader(file)
        if reader is None:
            raise UserError(f"{file} is not {_KINDS}.")
        try:
            with _open(file, "" if reader is _table else "\n") as text:
                yield from reader(museum, file, text)
        # Packed files that are cut off end with EOFError.
        except (OSError, EOFError, ValueError, RecursionError, csv.Error) as error:
            raise UserError(f"{file} cannot be read: {error}.") from error


def _open(file: Path, newline: str) -> TextIO:
    """The text of a file, unpacked.

    Lines of JSON end at a line feed alone: a catalogue's prose may hold what other programs take
    for the end of a line (U+2028, U+0085).
    """
    unpack: Any = {".bz2": bz2.open, ".gz": gzip.open}.get(file.suffix.lower(), open)
    # utf-8-sig: dumps of spreadsheet programs begin with a byte order mark.
    return cast(TextIO, unpack(file, "rt", encoding="utf-8-sig", newline=newline))


def _reader(file: Path) -> Reader | None:
    suffixes = [suffix.lower() for suffix in file.suffixes]
    if suffixes[-1:] and suffixes[-1] in _PACKED:
        suffixes.pop()
        return _READERS.get(suffixes[-1] if suffixes else "", _lines)
    return _READERS.get(suffixes[-1]) if suffixes else None


def _json(museum: Museum, file: Path, text: TextIO) -> Iterator[Raw]:
    yield from _records(museum, json.load(text))


def _records(museum: Museum, content: object) -> list[Raw]:
    found: list[Any] = content if isinstance(content, list) else []
    if isinstance(content, dict) and museum.source is not None:
        found = values(content, museum.source.records)
    records = [item for item in found if isinstance(item, dict)]
    if not records and isinstance(content, dict):
        inner = content.get(museum.source.each_record or "") if museum.source else None
        records = [inner if isinstance(inner, dict) else content]
    return records


def _lines(museum: Museum, file: Path, text: TextIO) -> Iterator[Raw]:
    for number, line in enumerate(text, start=1):
        if not line.strip():
            continue
        try:
            found = _records(museum, json.loads(line))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{file} line {number} is not a record in JSON: {error}.") from error
        yield from found


def _table(museum: Museum, file: Path, text: TextIO) -> Iterator[Raw]:
    rows = csv.DictReader(text)
    try:
        for row in rows:
            yield {key: value for key, value in row.items() if key is not None}
    except csv.Error as error:
        raise UserError(f"{file} line {rows.line_num} is not CSV: {error}.") from error


Reader = Callable[[Museum, Path, TextIO], Iterator[Raw]]

_READERS: Final[dict[str, Reader]] = {
    **{".json": _json, ".jsonl": _lines, ".ndjson": _lines, ".txt": _lines},
    ".csv": _table,
}
_PACKED: Final = frozenset({".bz2", ".gz"})
_KINDS: Final = "a .json, .jsonl, .txt (JSON lines) or .csv file, perhaps packed (.bz2, .gz)"
