"""A museum's raw records: from its dump or API, or from files that the user has."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from porcelain.errors import UserError
from training.data.museums.fetch import Fetcher, MissingError
from training.data.museums.museum import Museum, Source
from training.data.museums.paths import values

Raw = dict[str, Any]


def harvest(museum: Museum, fetcher: Fetcher, max_age: timedelta) -> Iterator[Raw]:
    """Every record that the museum's source lists, page by page.

    Records that vanished between the list and the question are left out.

    Args:
        museum: Entry of the table.
        fetcher: Asks the museum.
        max_age: How old a cached answer may be.

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
        except MissingError:
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

    Raises:
        UserError: There is no such file, or it cannot be read.
    """
    if path.is_dir():
        paths = sorted(p for p in path.rglob("*") if p.suffix.lower() in _READERS)
    else:
        paths = [path]
    if not paths or not all(p.is_file() for p in paths):
        raise UserError(f"{path} holds no records; give a .json, .jsonl or .csv file or a folder.")
    for file in paths:
        reader = _READERS.get(file.suffix.lower())
        if reader is None:
            raise UserError(f"{file} is not a .json, .jsonl or .csv file.")
        try:
            # utf-8-sig: dumps of spreadsheet programs begin with a byte order mark.
            text = file.read_text(encoding="utf-8-sig")
            yield from reader(museum, text)
        except (OSError, ValueError, csv.Error) as error:
            raise UserError(f"{file} cannot be read: {error}.") from error


def _json(museum: Museum, text: str) -> Iterator[Raw]:
    content = json.loads(text)
    found: list[Any] = content if isinstance(content, list) else []
    if isinstance(content, dict) and museum.source is not None:
        found = values(content, museum.source.records)
    records = [item for item in found if isinstance(item, dict)]
    if not records and isinstance(content, dict):
        inner = content.get(museum.source.each_record or "") if museum.source else None
        records = [inner if isinstance(inner, dict) else content]
    yield from records


def _lines(museum: Museum, text: str) -> Iterator[Raw]:
    for line in text.splitlines():
        if line.strip():
            yield from _json(museum, line)


def _table(museum: Museum, text: str) -> Iterator[Raw]:
    for row in csv.DictReader(io.StringIO(text)):
        yield {key: value for key, value in row.items() if key is not None}


_READERS = {".json": _json, ".jsonl": _lines, ".ndjson": _lines, ".csv": _table}
