"""Several services on one machine, started and stopped as one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Final

from porcelain.errors import PorcelainError

_WATCH_SECONDS: Final = 0.2


def run_together(
    commands: Mapping[str, Sequence[str]],
    grace_seconds: float,
    on_started: Callable[[], None] = lambda: None,
) -> None:
    """Run commands side by side until one ends or this process is told to stop.

    SIGINT, SIGTERM and SIGHUP are handed on, and every process has its grace to finish what it
    does. A SIGHUP that is ignored, as `nohup` has it, stays so.

    Args:
        commands: The words of each, by a name to call it by.
        grace_seconds: What each has to stop in before it is killed.
        on_started: Called once all are started.

    Raises:
        PorcelainError: One ended by itself; the others are stopped then.
    """
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, words in commands.items():
            # A session of its own: Ctrl-C reaches it through this process alone, once.
            running[name] = subprocess.Popen(list(words), start_new_session=True)
        on_started()
        while not stopping:
            for name, process in running.items():
                if process.poll() is not None:
                    raise PorcelainError(
                        f"The {name} ended by itself (status {process.returncode}), and the others "
                        "with it; what it said stands above."
                    )
            time.sleep(_WATCH_SECONDS)
    finally:
        _end(list(running.values()), grace_seconds)
        for number, handler in before.items():
            signal.signal(number, handler)


def porcelain_command(*words: str) -> list[str]:
    """The words that run a porcelain command with this Python."""
    return [sys.executable, "-m", "porcelain", *words]


def _end(processes: Sequence[subprocess.Popen[bytes]], grace_seconds: float) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + grace_seconds
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
