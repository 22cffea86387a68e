"""How a museum is asked, what was asked of it, and when to come back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

ATTEMPTS: Final = 6


@dataclass(frozen=True)
class Manners:
    """How a museum is asked.

    Attributes:
        agent: User agent: who asks, and where to complain.
        per_second: Requests a second at most.
        headers: Further headers.
        attempts: Per address.
        timeout: Seconds to connect, and between two pieces of an answer.
        max_bytes: Most bytes of one answer.
    """

    agent: str
    per_second: float
    headers: Mapping[str, str]
    attempts: int = ATTEMPTS
    timeout: float = 60.0
    max_bytes: int = 2 * 1024**3


@dataclass
class Counts:
    """What was asked of the museum."""

    requests: int = 0
    retries: int = 0
    resumed: int = 0
    downloaded: int = 0
    from_cache: int = 0
    bytes: int = 0


def retry_after(value: str, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for: a number or a date (RFC 9110 10.2.3)."""
    value = value.strip()
    if value.isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())
