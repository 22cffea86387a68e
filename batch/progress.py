"""How far a job is: a bar for people at a terminal, a line now and then for logs."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from porcelain.cli.console import console, progress

LINE_SECONDS: Final = 15.0
RATE_SECONDS: Final = 60.0
"""How far back the rate looks: long enough not to jump, short enough to tell of a change."""

OnProgress = Callable[[int, int, int], None]
"""Hears how many are done, how many there are, and how many of those done are errors."""


class Rate:
    """How many a second, of late."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()

    def update(self, done: int) -> None:
        """Say how many are done now."""
        now = self._clock()
        if self._seen and now - self._seen[-1][0] < 0.1:
            return  # a bounded number of moments
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > RATE_SECONDS:
            self._seen.popleft()

    @property
    def per_second(self) -> float:
        """The rate; 0 where nothing is known yet."""
        if len(self._seen) < 2:
            return 0.0
        (first, before), (last, after) = self._seen[0], self._seen[-1]
        return (after - before) / (last - first) if last > first else 0.0

    def seconds_left(self, remaining: int) -> float | None:
        """Until as many more are done; None where nothing is known yet."""
        rate = self.per_second
        return remaining / rate if rate > 0 else None


def describe(done: int, total: int, errors: int, rate: Rate) -> str:
    """One line of a log."""
    parts = [f"{done:,} of {total:,} ({done / max(1, total):.1%})", f"{rate.per_second:.1f}/s"]
    left = rate.seconds_left(total - done)
    if left is not None:
        parts.append(f"{duration(left)} left")
    if errors:
        parts.append(f"{errors:,} errors")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Seconds for people: `45 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


@contextmanager
def showing(description: str) -> Iterator[OnProgress]:
    """Show a job's progress where standard error goes."""
    out, rate = console(), Rate()
    if out.is_terminal:
        with progress(description) as bar:

            def draw(done: int, total: int, errors: int) -> None:
                rate.update(done)
                note = f"{rate.per_second:.0f}/s" + (f", {errors:,} errors" if errors else "")
                bar.report(done, total, note)

            yield draw
        return
    told = time.monotonic()

    def tell(done: int, total: int, errors: int) -> None:
        nonlocal told
        rate.update(done)
        if time.monotonic() - told >= LINE_SECONDS:
            told = time.monotonic()
            out.print(f"{description}: {describe(done, total, errors, rate)}", soft_wrap=True)

    yield tell
