"""Pictures of the records: fetched, looked at, and written into the dataset folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from porcelain.errors import ImageError
from porcelain.files import write_bytes
from porcelain.image_formats import IMAGE_FORMATS
from porcelain.images import DEFAULT_LIMITS, decode_image
from training.data.museums.cache import Stored
from training.data.museums.fetch import Fetcher, MissingError
from training.data.museums.record import CatalogueRecord

SMALLEST: Final = 96  # pixels of the longest side; less is a placeholder


@dataclass(frozen=True)
class Fetched:
    """A picture of a record.

    Attributes:
        url: Where it came from.
        file_name: Below the dataset folder.
        sha256: Of its bytes.
        replaced: SHA-256 of what the museum showed at this address before; empty if the same.
    """

    url: str
    file_name: str
    sha256: str
    replaced: str


@dataclass(frozen=True)
class Failure:
    """An address that gave no picture, and why."""

    url: str
    why: str


def fetch_pictures(
    record: CatalogueRecord,
    fetcher: Fetcher,
    folder: Path,
    views: int,
    max_age: timedelta | None = None,
) -> tuple[list[Fetched], list[Failure]]:
    """The record's first pictures that are pictures.

    An answer that is no picture is asked for once more: what stands in the way of a museum's
    server (a proxy, a waiting page) says so with status 200.

    Args:
        record: With addresses of pictures.
        fetcher: Asks the museum.
        folder: Dataset folder to write into.
        views: Most pictures.
        max_age: Ask anew where a cached picture is older; None never.

    Raises:
        UserError: The museum does not answer any more.
    """
    fetched: list[Fetched] = []
    failures: list[Failure] = []
    for url in record.pictures:
        if len(fetched) == views:
            break
        try:
            stored, kind = _picture(url, fetcher, max_age)
        except (MissingError, ImageError) as error:
            failures.append(Failure(url, str(error)))
            continue
        name = f"images/{file_stem(record)}-{len(fetched) + 1}{IMAGE_FORMATS[kind].suffix}"
        target = folder / name
        if not target.is_file() or target.stat().st_size != stored.body.stat().st_size:
            write_bytes(target, stored.body.read_bytes())
        fetched.append(Fetched(url, name, stored.sha256, stored.replaced))
    return fetched, failures


def _picture(url: str, fetcher: Fetcher, max_age: timedelta | None) -> tuple[Stored, str]:
    limit = DEFAULT_LIMITS.max_bytes
    stored = fetcher.get(url, max_age=max_age, max_bytes=limit)
    try:
        return stored, _look(stored)
    except ImageError:
        stored = fetcher.again(url, max_bytes=limit)
    return stored, _look(stored)


def _look(stored: Stored) -> str:
    """The picture's format.

    Raises:
        ImageError: It is none, broken, or too small to be a photograph.
    """
    try:
        picture = decode_image(stored.body.read_bytes(), longest_side=SMALLEST)
    except ImageError as error:
        kind = stored.content_type or "no declared type"
        raise ImageError(f"no picture ({kind}): {error}") from error
    if max(picture.width, picture.height) < SMALLEST:
        raise ImageError(f"only {picture.width} x {picture.height} pixels")
    return picture.format


def file_stem(record: CatalogueRecord) -> str:
    """A name for the record's files: museum and id in ASCII."""
    name = f"{record.museum}-{record.id}"
    return re.sub(r"[^A-Za-z0-9.-]", lambda odd: f"u{ord(odd[0]):x}", name)
