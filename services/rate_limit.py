"""How many pictures each caller may ask for per second: token buckets that all workers share.

The buckets lie in a file that the workers of one service map, under a lock that is held for
microseconds, so that a limit means what it says however many workers there are. Replicas do not
share: behind a load balancer a caller has the limit once per replica.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Final

from services.problems import RATE_LIMIT, Problem
from services.shared_memory import shared_memory

FILE: Final = "rate-limits"
SLOTS: Final = 4096
"""Callers that are told apart at a time."""

_PROBES: Final = 8
_BUCKET: Final = struct.Struct("=8sdd")
"""Whose it is (hash), tokens, and when they were counted."""


class RateLimit:
    """Lets each caller ask for so many pictures per second."""

    def __init__(
        self,
        folder: Path | None,
        per_second: float,
        burst: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Limit callers.

        Args:
            folder: Shared by the workers; None for a single process.
            per_second: Pictures per second that a caller may go on asking for; 0 limits nobody.
            burst: Pictures that a caller may ask for at once after a pause.
            clock: Seconds from an origin that all workers share.
        """
        self._rate = per_second
        self._burst = float(burst)
        self._clock = clock
        self._lock: int | None = None
        if per_second > 0:
            self._buckets = self._open(folder)

    def admit(self, caller: str) -> None:
        """Count one picture.

        Raises:
            Problem: 429, the caller has asked for more than it may; `Retry-After` says when it
                may ask again.
        """
        if self._rate <= 0:
            return
        with self._bucket(caller) as (place, owner, tokens, now):
            if tokens >= 1.0:
                _BUCKET.pack_into(self._buckets, place, owner, tokens - 1.0, now)
                return
        seconds = max(1, math.ceil((1.0 - tokens) / self._rate))
        raise Problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            RATE_LIMIT,
            f"You may ask for {self._rate:g} pictures per second; send it again in {seconds} s.",
            {"Retry-After": str(seconds)},
        )

    def charge(self, caller: str, count: int) -> None:
        """Count `count` more pictures of a request that was admitted: a debt, if need be."""
        if self._rate <= 0 or count <= 0:
            return
        with self._bucket(caller) as (place, owner, tokens, now):
            _BUCKET.pack_into(self._buckets, place, owner, tokens - count, now)

    @contextmanager
    def _bucket(self, caller: str) -> Iterator[tuple[int, bytes, float, float]]:
        """A caller's bucket, locked: its place, owner, tokens by now, and now."""
        owner = hashlib.blake2b(caller.encode(), digest_size=8).digest()
        if self._lock is not None:
            fcntl.lockf(self._lock, fcntl.LOCK_EX)
        try:
            now = self._clock()
            place, tokens = self._find(owner, now)
            yield place, owner, tokens, now
        finally:
            if self._lock is not None:
                fcntl.lockf(self._lock, fcntl.LOCK_UN)

    def _find(self, owner: bytes, now: float) -> tuple[int, float]:
        """Where a caller's bucket is, or may be: its own place, else the fullest bucket's."""
        first = int.from_bytes(owner, "little")
        best, most = 0, -math.inf
        for probe in range(_PROBES):
            place = (first + probe) % SLOTS * _BUCKET.size
            held_by, tokens, since = _BUCKET.unpack_from(self._buckets, place)
            tokens = min(self._burst, tokens + (now - since) * self._rate)
            if held_by == owner:
                return place, tokens
            if tokens > most:
                best, most = place, tokens
        # A full bucket says no more of its owner than none does, and may be taken over.
        return best, self._burst

    def _open(self, folder: Path | None) -> memoryview:
        size = SLOTS * _BUCKET.size
        if folder is None:
            return _full(shared_memory(None, FILE, size), self._burst)
        file = os.open(folder / FILE, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.lockf(file, fcntl.LOCK_EX)
        try:
            new = os.fstat(file).st_size != size
            view = shared_memory(folder, FILE, size)
            if new:
                _full(view, self._burst)
        finally:
            fcntl.lockf(file, fcntl.LOCK_UN)
        self._lock = file
        return view


def _full(buckets: memoryview, burst: float) -> memoryview:
    for place in range(0, len(buckets), _BUCKET.size):
        _BUCKET.pack_into(buckets, place, bytes(8), burst, 0.0)
    return buckets
