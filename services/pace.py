"""Refusing at once what would wait too long, so that what is accepted is answered in time.

A fixed number of requests in progress cannot do that: pictures take from two to fifty
milliseconds, and machines differ as much. A burst after a pause is let in, if need be to several
times the wait; from then on, until nobody waits any more, the queue is kept short. How long work
will take is a guess, and what a burst let in may turn out late: it then gives its turn to those
behind it, as long as others are being turned away for want of room. (CoDel, RFC 8289, tells bursts
from standing queues, and drops what has waited when its turn comes, in the same spirit.)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from services.problems import full

BURST: Final = 2.5
"""How many times the longest wait a burst may wait."""
BURST_SECONDS: Final = 1.0
"""How long a burst may last; what goes on longer is none."""
LATE: Final = 2.0
"""How many times the longest wait work may have waited when its turn comes, in an overload."""
LEAST: Final = 12
"""So many may wait, however slow the machine, as long as nobody had to be turned away."""
STANDING: Final = 1.5
"""How many times the longest wait those few may wait in an overload: short of `LATE`, or they would
be let in only to be dropped."""
BUSY: Final = 2
"""One that is worked on and one that waits: with fewer the worker would idle."""
LONGEST_RETRY: Final = 60

_SMOOTHING: Final = 0.1


class Turn:
    """One piece of work's place in the queue."""

    def __init__(self, pace: Pace, since: float) -> None:
        self._pace = pace
        self._since = since
        self.refused = False

    def begin(self) -> None:
        """Say that its turn has come; from any thread.

        Raises:
            Problem: 429, it comes too late, and others wait.
        """
        if self._pace.is_late(self._since):
            self.refused = True
            raise full("Your picture has waited too long; send it again in a second.")


class Pace:
    """How long a piece of work that came now would wait; used from one event loop."""

    def __init__(self, max_wait: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Let work wait `max_wait` seconds."""
        self._max_wait = max_wait
        self._clock = clock
        self._waiting = 0
        self._seconds = 0.0
        self._done_at = -math.inf
        self._burst_since: float | None = None
        self._burst_over = False
        self._refused_at = -math.inf

    @property
    def wait(self) -> float:
        """Seconds until work that came now would begin."""
        return self._waiting * self._seconds

    def check(self) -> None:
        """Refuse where the queue stands.

        Raises:
            Problem: 429; `Retry-After` says when the queue will be short again.
        """
        now = self._clock()
        if self.wait <= self._max_wait or self._is_few(now):
            return
        if self._burst_since is None:
            self._burst_since = now
        if now - self._burst_since > BURST_SECONDS or self.wait > BURST * self._max_wait:
            self._burst_over = True
        if not self._burst_over:
            return
        self._refused_at = now
        seconds = min(LONGEST_RETRY, math.ceil(self.wait))
        raise full(
            f"So many pictures wait that yours would wait {self.wait:.1f} s; send it again in "
            f"{seconds} s.",
            seconds,
        )

    def is_late(self, since: float) -> bool:
        """Whether work that waits since then is to be dropped for the sake of others."""
        now = self._clock()
        return self._is_pressed(now) and now - since > LATE * self._max_wait

    def _is_few(self, now: float) -> bool:
        """Whether so few wait that one more may, though it will take long."""
        if self._waiting < BUSY:
            return True
        in_time = self.wait <= STANDING * self._max_wait or not self._is_pressed(now)
        return in_time and self._waiting < LEAST

    def _is_pressed(self, now: float) -> bool:
        """Whether others have just been turned away."""
        return now - self._refused_at < self._max_wait

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Wait for a turn and take it, within the block."""
        begun = self._clock()
        self._waiting += 1
        turn = Turn(self, begun)
        try:
            yield turn
        finally:
            self._waiting -= 1
            now = self._clock()
            if not turn.refused:
                # Work is done one after the other: it began when the one before it was done.
                newest = now - max(begun, self._done_at)
                self._seconds += _SMOOTHING * (newest - self._seconds)
            self._done_at = now
            if self._waiting == 0:
                self._burst_since, self._burst_over = None, False
