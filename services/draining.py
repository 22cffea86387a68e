"""From being told to stop to stopping: callers are sent elsewhere before the door closes.

uvicorn closes idle connections at once, and with them requests that were just under way on them.
Here a worker that is told to stop first goes on answering, says 503 at `/readyz`, and ends each
connection with its answer (`Connection: close`), until nobody asks any more. Then it lets nobody
else knock, takes in who knocked already, and only then leaves the rest to uvicorn.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

QUIET_SECONDS: Final = 0.3
"""Nobody has asked for so long: nobody will."""
KNOCK_SECONDS: Final = 0.1
"""What it takes to accept the connections that wait to be."""
_LOOK_SECONDS: Final = 0.05

FOLDER: Final = "PORCELAIN_SUPERVISOR"
"""Variable with the folder of the process above the workers (`services.supervision`)."""
STOPPING: Final = "stopping"
"""File in that folder: all workers are told to stop, not one of them alone."""

_ATTACH_FILTER: Final = 26  # SO_ATTACH_FILTER, socket(7)
_RETURN_CONSTANT: Final = 0x06  # BPF_RET | BPF_K, linux/bpf_common.h


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
            try:
                await self.empty()
                if all_stop() and let_nobody_knock():
                    await asyncio.sleep(KNOCK_SECONDS)
            finally:  # BentoML's arbiter waits a day for a worker that does not stop
                if callable(stop):
                    stop(number, frame)

        def on_signal(number: int, frame: FrameType | None) -> Any:  # noqa: ANN401
            if tasks and callable(stop):  # told twice
                return stop(number, frame)
            loop.call_soon_threadsafe(lambda: tasks.append(loop.create_task(leave(number, frame))))
            return None

        signal.signal(signal.SIGTERM, on_signal)


def all_stop() -> bool:
    """Whether the whole service stops; a single worker leaves the port to the others."""
    folder = os.environ.get(FOLDER)
    return folder is not None and (Path(folder) / STOPPING).exists()


def let_nobody_knock() -> bool:
    """Make no more connections to the port that this worker accepts from (Linux).

    Closing a listening socket resets the connections that were made and not yet accepted, with the
    requests in them. A packet filter keeps new ones from being made; who tries is refused a second
    later, when the port is closed, and has lost nothing.

    Returns:
        Whether that was possible.
    """
    if not sys.platform.startswith("linux") or "--fd" not in sys.argv:
        return False
    accepting = socket.socket(fileno=os.dup(int(sys.argv[sys.argv.index("--fd") + 1])))
    with accepting:
        if accepting.family == socket.AF_UNIX:
            return False
        instruction = struct.pack("HBBI", _RETURN_CONSTANT, 0, 0, 0)  # of each packet no byte
        program = ctypes.create_string_buffer(instruction)
        try:
            accepting.setsockopt(
                socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(program))
            )
        except OSError:  # a seccomp profile may forbid it, as that of buildah's chroot does
            return False
    return True
