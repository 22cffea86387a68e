"""Readiness across worker processes: ready when every worker has warmed up."""

from __future__ import annotations

import os
from pathlib import Path

PREFIX = "ready-"
_ENDED = ("Z", "X")


def is_alive(pid: int) -> bool:
    """Whether a process of this id runs.

    One that has ended, and that its parent has not yet taken notice of, does not (Linux).
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        # proc(5): the name in brackets may itself hold brackets; the state comes after it.
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state not in _ENDED


class Readiness:
    """One worker's view of whether the service is ready.

    Workers accept from one socket, so that an answer of `/readyz` speaks for all of them: it is
    ready once all have marked the shared folder. After that a worker answers for itself, so that
    one that restarts does not take the others away.
    """

    def __init__(self, folder: Path | None, workers: int) -> None:
        """Watch `workers` processes that share `folder`; None for a single process."""
        self._folder = folder
        self._workers = workers
        self._self_ready = False
        self._all_seen = False

    @property
    def warm(self) -> bool:
        """Whether this worker can answer."""
        return self._self_ready

    def mark(self) -> None:
        """Say that this worker has warmed up."""
        self._self_ready = True
        if self._folder is not None:
            (self._folder / f"{PREFIX}{os.getpid()}").touch()

    def unmark(self) -> None:
        """Say that this worker has answered its last request."""
        self._self_ready = False
        if self._folder is not None:
            (self._folder / f"{PREFIX}{os.getpid()}").unlink(missing_ok=True)

    def anyone(self) -> bool:
        """Whether some worker may still have requests to answer."""
        return self._marked() > 0

    def ready(self) -> bool:
        """Whether callers may send requests."""
        if self._self_ready and not self._all_seen:
            self._all_seen = self._folder is None or self._marked() >= self._workers
        return self._self_ready and self._all_seen

    def _marked(self) -> int:
        if self._folder is None:
            return int(self._self_ready)
        marks = self._folder.glob(PREFIX + "*")
        return sum(is_alive(int(mark.name.removeprefix(PREFIX))) for mark in marks)
