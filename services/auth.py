"""Bearer keys (RFC 6750), when a key file is configured."""

from __future__ import annotations

import hashlib
import hmac
from http import HTTPStatus
from pathlib import Path

from porcelain.errors import UserError
from services.problems import Problem

MIN_KEY_LENGTH = 16


class BearerKeys:
    """The keys that callers may present; without a file everyone may call."""

    def __init__(self, file: Path | None) -> None:
        """Read one key per line; blank lines and lines that begin with # are skipped.

        Raises:
            UserError: The file cannot be read, has no key, or a key is too short to be safe.
        """
        self._digests: list[bytes] | None = None
        if file is None:
            return
        try:
            lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"The key file {file} cannot be read: {error}.") from error
        keys = [line for line in lines if line and not line.startswith("#")]
        if not keys or any(len(key) < MIN_KEY_LENGTH for key in keys):
            raise UserError(
                f"The key file {file} must hold one key of at least {MIN_KEY_LENGTH} characters "
                "per line."
            )
        self._digests = [_digest(key) for key in keys]

    @property
    def required(self) -> bool:
        """Whether callers need a key."""
        return self._digests is not None

    def check(self, authorization: str) -> None:
        """Check an Authorization header, in time that does not depend on the keys.

        Raises:
            Problem: 401, no key or an unknown one.
        """
        if self._digests is None:
            return
        scheme, _, key = authorization.partition(" ")
        given = _digest(key.strip())
        known = [hmac.compare_digest(given, digest) for digest in self._digests]
        if scheme.lower() != "bearer" or not any(known):
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                "key",
                "Send a valid key in the header 'Authorization: Bearer KEY'.",
                {"WWW-Authenticate": 'Bearer realm="porcelain"'},
            )


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
