"""Admission control: a bounded queue before one worker's model.

A fixed number of requests in progress cannot bound how long a picture waits: pictures take from
two to fifty milliseconds, and machines differ as much. So a request is refused, at once and with
the time after which to come back, where the pictures before it would take longer than
`max_queue_delay` at the pace of the last ones.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from starlette.requests import ClientDisconnect

from services.problems import full

LONGEST_RETRY: Final = 60
_ALWAYS_ADMITTED: Final = 8
"""So many may wait however slow the machine: a few patient callers, all of whose connections the
kernel may have given to one worker, are no overload."""
_SMOOTHING: Final = 0.1
"""Weight of the newest picture in the mean seconds per picture."""


class Admission:
    """How many requests, and bytes of their bodies, one worker holds; used from its event loop."""

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        """Bound one worker.

        Args:
            max_requests: Most requests between their headers and their answer.
            max_bytes: Most bytes of request bodies held at a time.
        """
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self.requests = 0
        self.bytes = 0

    @contextmanager
    def admit(self) -> Iterator[Callable[[int], None]]:
        """Hold one request's place.

        Yields:
            What is called with the bytes of its body as they arrive; raises 429 beyond the bound.

        Raises:
            Problem: 429, when full.
        """
        if self.requests >= self._max_requests:
            raise full(f"{self._max_requests} requests are in progress; send it again in a second.")
        held = 0

        def charge(count: int) -> None:
            nonlocal held
            if self.bytes + count > self._max_bytes:
                raise full("The pictures in progress fill the memory; send it again in a second.")
            self.bytes += count
            held += count

        self.requests += 1
        try:
            yield charge
        finally:
            self.requests -= 1
            self.bytes -= held


class DelayBoundedQueue:
    """Pictures that wait for the model, in the order of their arrival; used from one event loop."""

    def __init__(
        self,
        max_queue_delay: float,
        slots: int = 2,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bound how long a picture waits.

        Args:
            max_queue_delay: Seconds.
            slots: Pictures that are let through at a time; with one more than the model works on
                at a time, the model never waits for the event loop.
            clock: Seconds from any origin.
        """
        self._max_queue_delay = max_queue_delay
        self._slots = asyncio.Semaphore(slots)
        self._clock = clock
        self._waiting = 0
        self._done_at = -math.inf
        self.seconds_per_picture = 0.0

    @property
    def delay(self) -> float:
        """Seconds until a picture that came now would be worked on."""
        return self._waiting * self.seconds_per_picture

    def check(self) -> None:
        """Refuse where a picture would wait too long.

        Raises:
            Problem: 429; `Retry-After` says when the queue will be short enough again.
        """
        if self._waiting < _ALWAYS_ADMITTED or self.delay <= self._max_queue_delay:
            return
        seconds = min(LONGEST_RETRY, max(1, math.ceil(self.delay - self._max_queue_delay)))
        raise full(
            f"So many pictures wait that yours would wait {self.delay:.1f} s; send it again in "
            f"{seconds} s.",
            seconds,
        )

    @asynccontextmanager
    async def turn(self, is_disconnected: Callable[[], Awaitable[bool]]) -> AsyncIterator[None]:
        """Wait for a picture's turn, and hold it within the block.

        Args:
            is_disconnected: Whether its caller has hung up; asked when the turn comes.

        Raises:
            ClientDisconnect: It has: nothing is computed for it.
        """
        begun = self._clock()
        self._waiting += 1
        worked = False
        try:
            async with self._slots:
                if await is_disconnected():
                    raise ClientDisconnect
                worked = True
                yield
        finally:
            self._waiting -= 1
            if worked:
                self._observe(begun)

    def _observe(self, begun: float) -> None:
        """Learn from a picture that is done: it was begun when the one before it was done."""
        now = self._clock()
        newest = now - max(begun, self._done_at)
        known = self.seconds_per_picture
        self.seconds_per_picture += (_SMOOTHING if known else 1.0) * (newest - known)
        self._done_at = now
