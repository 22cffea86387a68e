"""How much may be in progress in one worker: requests, and bytes held in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from services.problems import full


class Admission:
    """Counts what is in progress and refuses at once what would go beyond.

    Used from one event loop only, so that plain integers suffice.
    """

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        """Bound one worker.

        Args:
            max_requests: Most requests between their headers and their answer.
            max_bytes: Most bytes of request bodies held at a time.
        """
        self.max_requests = max_requests
        self.max_bytes = max_bytes
        self.requests = 0
        self.bytes = 0

    @contextmanager
    def admit(self) -> Iterator[Reservation]:
        """Hold one request's place.

        Yields:
            What the request's body is charged to.

        Raises:
            Problem: 429, when full.
        """
        if self.requests >= self.max_requests:
            raise full(f"{self.max_requests} requests are in progress; send it again in a second.")
        self.requests += 1
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            self.requests -= 1
            self.bytes -= reservation.bytes


class Reservation:
    """The bytes that one admitted request holds."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.bytes = 0

    def charge(self, count: int) -> None:
        """Account for `count` more bytes.

        Raises:
            Problem: 429, when the worker already holds too many.
        """
        if self._admission.bytes + count > self._admission.max_bytes:
            raise full("The pictures in progress fill the memory; send it again in a second.")
        self._admission.bytes += count
        self.bytes += count
