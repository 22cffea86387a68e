"""Downloaded answers on disk: whole ones with their checksum, and broken ones to go on with."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from porcelain.files import sha256_file, write_json


@dataclass(frozen=True)
class Stored:
    """A whole answer.

    Attributes:
        url: Where it came from.
        body: The file with its bytes.
        sha256: Of those bytes.
        content_type: As the museum declared it.
        etag: Its entity tag; empty where none was given.
        last_modified: Likewise.
        fetched: When, in ISO 8601.
        replaced: SHA-256 of what was at the address before; empty where it never changed.
    """

    url: str
    body: Path
    sha256: str
    content_type: str
    etag: str
    last_modified: str
    fetched: str
    replaced: str = ""

    def age(self) -> timedelta:
        """Since it was fetched or last found unchanged."""
        return datetime.now(UTC) - datetime.fromisoformat(self.fetched)

    def validators(self) -> dict[str, str]:
        """Headers that ask for an answer only if it changed."""
        headers = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in headers.items() if value}


class Partial:
    """The beginning of an answer that broke off."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._notes = path.with_suffix(".part.json")

    @property
    def size(self) -> int:
        """Bytes there are."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def resume_headers(self) -> dict[str, str]:
        """Headers that ask for the rest, if the whole is still the same; else for all of it."""
        validator = self.headers().get("etag") or self.headers().get("last-modified")
        # A weak tag does not promise equal bytes (RFC 9110 13.1.5).
        if not validator or validator.startswith("W/"):
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": validator}

    def headers(self) -> dict[str, str]:
        """What the museum said of the answer when it began."""
        try:
            notes = json.loads(self._notes.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {str(name): str(value) for name, value in notes.items()}

    def fits(self, content_range: str) -> bool:
        """Whether a partial answer goes on where this one ends."""
        start = re.match(r"bytes (\d+)-", content_range)
        return start is not None and int(start[1]) == self.size

    @contextmanager
    def open(self, headers: Mapping[str, str], resumed: bool) -> Iterator[BinaryIO]:
        """The file to append to, or to begin anew."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not resumed:
            self.path.unlink(missing_ok=True)
            names = ("etag", "last-modified")
            notes = {name: headers[name] for name in names if name in headers}
            self._notes.write_text(json.dumps(notes), encoding="utf-8")
        with self.path.open("ab" if resumed else "wb") as file:
            yield file

    def discard(self) -> None:
        """Forget the beginning."""
        self.path.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)


class Cache:
    """Answers by address, below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, url: str) -> Stored | None:
        """The whole answer of an address; None where there is none or its bytes were altered."""
        path = self._path(url)
        try:
            notes: dict[str, Any] = json.loads(path.with_suffix(".json").read_text("utf-8"))
            stored = Stored(**{**notes, "body": path})
            intact = sha256_file(path) == stored.sha256
        except (OSError, ValueError, TypeError):
            return None
        return stored if intact else None

    def partial(self, url: str) -> Partial:
        """The broken answer of an address, whether or not there is one."""
        return Partial(self._path(url).with_suffix(".part"))

    def keep(self, url: str, part: Partial, content_type: str) -> Stored:
        """Make the answer that is now complete the whole one of its address."""
        path = self._path(url)
        before = self.read(url)
        headers = part.headers()
        part.path.replace(path)
        part.discard()
        digest = sha256_file(path)
        changed = before is not None and before.sha256 != digest
        stored = Stored(
            url,
            path,
            digest,
            content_type,
            headers.get("etag", ""),
            headers.get("last-modified", ""),
            datetime.now(UTC).isoformat(timespec="seconds"),
            before.sha256 if before is not None and changed else "",
        )
        self._note(stored)
        return stored

    def touch(self, stored: Stored) -> Stored:
        """Note that an answer was found unchanged now."""
        fresh = replace(stored, fetched=datetime.now(UTC).isoformat(timespec="seconds"))
        self._note(fresh)
        return fresh

    def forget(self, url: str) -> None:
        """Drop the answer of an address."""
        path = self._path(url)
        path.with_suffix(".json").unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def _note(self, stored: Stored) -> None:
        notes = {name: value for name, value in asdict(stored).items() if name != "body"}
        write_json(stored.body.with_suffix(".json"), notes)

    def _path(self, url: str) -> Path:
        digest = hashlib.sha256(url.encode()).hexdigest()
        return self.root / digest[:2] / f"{digest}.body"


def default_cache() -> Path:
    """Where downloads are kept: $XDG_CACHE_HOME/porcelain, or ~/.cache/porcelain."""
    base = os.environ.get("XDG_CACHE_HOME", "").strip()
    return (Path(base) if base else Path.home() / ".cache") / "porcelain" / "museums"
