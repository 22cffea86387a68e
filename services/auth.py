"""Bearer keys (RFC 6750), when a file of their hashes is configured.

The file has a line per key, `NAME sha256:HEX`. A key is 256 random bits, so that one SHA-256 is as
good as a slow hash: there is no dictionary to try.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from porcelain.errors import UserError
from porcelain.files import write_text
from services.logs import LOGGER
from services.problems import Problem

LOOK_SECONDS: Final = 1.0
"""How often the file is looked at: a changed one is in force after at most so long."""

_PREFIX: Final = "porcelain_"  # so that secret scanners know a key when they see one
_NAME: Final = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_LINE: Final = re.compile(rf"({_NAME.pattern})\s+sha256:([0-9a-fA-F]{{64}})")
_LARGEST_FILE: Final = 1024 * 1024

_BEARER: Final = HTTPBearer(auto_error=False)

_Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Key:
    """One key that callers may present.

    Attributes:
        name: Who has it; logs name it.
        digest: SHA-256 of the key.
    """

    name: str
    digest: bytes


class BearerKeys:
    """The keys that callers may present; without a file everyone may call.

    The file may change while the service runs, also by the swap of a symbolic link, as Kubernetes
    renews a secret. One that cannot be used leaves the keys as they are.
    """

    def __init__(self, file: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file.

        Args:
            file: A line per key; blank lines and lines that begin with # are skipped.
            clock: Seconds from any origin.

        Raises:
            UserError: The file cannot be read, has no key, or has a line that is no hash.
        """
        self._file = file
        self._clock = clock
        self._looked = clock()
        self._version: _Version | None = None
        self._keys: list[Key] = []
        if file is not None:
            self._version = _version(file)
            self._keys = read_keys(file)

    @property
    def required(self) -> bool:
        """Whether callers need a key."""
        return self._file is not None

    @property
    def dependencies(self) -> list[Any]:
        """For routes that only holders of a key may call."""
        return [Depends(self)] if self.required else []

    async def __call__(
        self,
        request: Request,
        given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    ) -> None:
        """Check a request's key; its log entry gets the key's name.

        Raises:
            Problem: 401, no key or an unknown one.
        """
        request.state.key = self.check(given.credentials if given else "")

    def check(self, key: str) -> str:
        """The name of a key, found in time that does not depend on the keys.

        Raises:
            Problem: 401, an unknown key.
        """
        if self._file is not None:
            self._renew(self._file)
        digest = _digest(key.strip())
        known = [one.name for one in self._keys if hmac.compare_digest(digest, one.digest)]
        if not known:
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                "key",
                "Send a valid key in the header 'Authorization: Bearer KEY'.",
                {"WWW-Authenticate": 'Bearer realm="porcelain"'},
            )
        return known[0]

    def _renew(self, file: Path) -> None:
        """Read the file again if it is another one than before."""
        now = self._clock()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        version = _version(file)
        if version == self._version:
            return
        self._version = version  # also of a file that cannot be used, to say so once
        logger = logging.getLogger(LOGGER)
        try:
            self._keys = read_keys(file)
        except UserError as error:
            logger.error("%s The keys of before stay in force.", error)
        else:
            logger.info("%d keys are in force now", len(self._keys))


def read_keys(file: Path) -> list[Key]:
    """The keys of a file.

    Raises:
        UserError: It cannot be read, has no key, or has a line that is no hash.
    """
    try:
        with file.open(encoding="utf-8") as opened:
            text = opened.read(_LARGEST_FILE)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"The key file {file} cannot be read: {reason}.") from error
    keys = []
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:  # the line itself is not shown: it may be a key
            raise UserError(
                f"Line {number} of the key file {file} is not 'NAME sha256:HEX'; make one with "
                "'porcelain serve key NAME'."
            )
        keys.append(Key(match[1], bytes.fromhex(match[2])))
    if not keys:
        raise UserError(f"The key file {file} has no key; make one: porcelain serve key NAME.")
    return keys


def new_key(name: str) -> tuple[str, str]:
    """A new key, and the line of a key file that admits it.

    Raises:
        UserError: The name cannot be in a key file.
    """
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r} cannot name a key; use letters, digits and . _ @ -, up to 64.")
    key = _PREFIX + secrets.token_urlsafe(32)
    return key, f"{name} sha256:{_digest(key).hex()}"


def add_key(file: Path, line: str) -> None:
    """Add a line to a key file, which is made where there is none, for its owner alone.

    Raises:
        UserError: The file cannot be used as a key file, or cannot be written.
    """
    lines = []
    if file.exists():
        if line.split()[0] in {one.name for one in read_keys(file)}:
            raise UserError(f"{file} has a key of that name; take another name, or delete it.")
        lines = file.read_text(encoding="utf-8").splitlines()
    try:
        write_text(file, "\n".join([*lines, line, ""]))
    except OSError as error:
        raise UserError(f"The key file {file} cannot be written: {error.strerror}.") from error


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _version(file: Path) -> _Version | None:
    """What tells a file from the one before it; None where there is none."""
    try:
        found = file.stat()  # of what a symbolic link leads to
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
