"""From being told to stop to stopping: callers are sent elsewhere before the door closes.

uvicorn closes idle connections at once, and with them requests that were just under way on them.
Here a worker that is told to stop first goes on answering, says 503 at `/readyz`, and ends each
connection with its answer (`Connection: close`), until nobody asks any more.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

QUIET_SECONDS: Final = 0.3
"""Nobody has asked for so long: nobody will."""
_LOOK_SECONDS: Final = 0.05


class Drain:
    """Whether a worker is being emptied, and when it is empty."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare to empty a worker; `seconds` is how long that may take at most."""
        self.active = False
        self._seconds = seconds
        self._clock = clock
        self._asked_at = clock()

    def asked(self) -> None:
        """Somebody asks for an answer."""
        self._asked_at = self._clock()

    async def empty(self) -> None:
        """Return when nobody has asked for a while, or time is up."""
        self.active = True
        begun = self._clock()
        while self._clock() - begun < self._seconds:
            if self._clock() - max(self._asked_at, begun) >= QUIET_SECONDS:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    def before_stopping(self) -> None:
        """Empty the worker on SIGTERM, and only then do what SIGTERM did before.

        Called from the event loop's thread.
        """
        stop = signal.getsignal(signal.SIGTERM)
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[None]] = []

        async def leave(number: int, frame: FrameType | None) -> None:
            await self.empty()
            if callable(stop):
                stop(number, frame)

        def on_signal(number: int, frame: FrameType | None) -> Any:  # noqa: ANN401
            if tasks and callable(stop):  # told twice
                return stop(number, frame)
            loop.call_soon_threadsafe(lambda: tasks.append(loop.create_task(leave(number, frame))))
            return None

        signal.signal(signal.SIGTERM, on_signal)
