"""Evening out kept-alive connections between workers that accept from one socket.

The worker that wakes first takes a new connection and then keeps it: of eight clients seven may
end at one worker, while the core of the other idles. A worker that answers more than its share,
with requests waiting, therefore ends one connection with its answer (`Connection: close`, RFC 9112
section 9.6) every now and then; the client connects again, most likely to the worker that idles.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from services.shared_memory import shared_memory

FILE: Final = "answered"
SHARE: Final = 1.2
"""How many times its fair share a worker answers before it sheds a connection."""
WINDOW: Final = 0.1
"""Seconds over which shares are counted at least, and between connections that are shed."""
LEAST: Final = 16
"""Answers of all workers from which shares say something."""
WAITING: Final = 2
"""Requests in progress from which a worker has more than it can do at once."""

_NUMBER: Final = 8
"""Bytes of a worker's count, which that worker alone writes."""


class ConnectionBalance:
    """One worker's view of how many requests each worker answers."""

    def __init__(
        self,
        folder: Path | None,
        worker: int,
        workers: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Count in a file that all workers map.

        Args:
            folder: Shared by the workers; None for a single process, which sheds nothing.
            worker: This worker's number, from 0.
            workers: How many there are.
            clock: Seconds from any origin.
        """
        self._worker = worker
        self._workers = workers
        self._clock = clock
        self._answered = shared_memory(folder, FILE, workers * _NUMBER).cast("q")
        self._last = list(self._answered)
        self._since = clock()

    def answered(self, in_progress: int) -> bool:
        """Count an answer; say whether its connection should be ended with it.

        Args:
            in_progress: Requests that this worker has not answered yet.
        """
        if self._workers == 1:
            return False
        self._answered[self._worker] += 1
        if in_progress < WAITING or self._clock() - self._since < WINDOW:
            return False
        now = list(self._answered)
        counts = [after - before for before, after in zip(self._last, now, strict=True)]
        total = sum(counts)
        if total < LEAST:  # slow pictures: the window goes on
            return False
        self._last, self._since = now, self._clock()
        return counts[self._worker] * self._workers > SHARE * total
