"""What every command shows: progress with an estimate, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_SECONDS: Final = 30.0
"""Where output is no terminal, a line at least so often."""


def console() -> Console:
    """Where people read: standard error, so that standard output stays for data."""
    return Console(stderr=True, highlight=False)


@contextmanager
def progress(
    description: str, total: int | None = None, *, every: bool = False
) -> Iterator[ProgressReporter]:
    """A progress bar with elapsed and remaining time; lines where standard error is no terminal.

    Args:
        description: What is being done.
        total: How many steps there will be, if that is known.
        every: Whether each step has a line, as an epoch has; else one comes every half minute.
    """
    shown = console()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=shown,
        disable=not shown.is_terminal,
    ) as bar:
        reporter = ProgressReporter(bar, bar.add_task(description, total=total, note=""), every)
        yield reporter
        reporter.end()


class ProgressReporter:
    """Moves one bar, or says how far it would be; independent of rich for those who call it."""

    def __init__(self, bar: Progress, task: TaskID, every: bool) -> None:
        self._bar = bar
        self._task = task
        self._every = every
        self._said_at = time.monotonic()
        self._said = 0.0

    def total(self, count: int) -> None:
        """Say how many steps there will be."""
        self._bar.update(self._task, total=count)

    def completed(self, count: int, note: str = "") -> None:
        """Say how many steps are done, with a short note beside the bar."""
        self._bar.update(self._task, completed=count, note=note)
        self._say()

    def report(self, count: int, total: int, note: str = "") -> None:
        """Say how many steps are done, and of how many."""
        self.total(total)
        self.completed(count, note)

    def advance(self, count: int = 1) -> None:
        """Say that `count` more steps are done."""
        self._bar.advance(self._task, count)
        self._say()

    def end(self) -> None:
        """Say the last step, where it has not been."""
        self._say(last=True)

    def _say(self, *, last: bool = False) -> None:
        task = self._bar.tasks[0]
        due = last or self._every or time.monotonic() - self._said_at >= LINE_SECONDS
        if not self._bar.disable or task.completed == self._said or not due:
            return
        self._said, self._said_at = task.completed, time.monotonic()
        total = "" if task.total is None else f"/{task.total:.0f}"
        line = f"{task.description} {task.completed:.0f}{total} {task.fields['note']}".rstrip()
        self._bar.console.print(line, markup=False, soft_wrap=True)


class Stages:
    """Work in several parts: one bar at a time, and words between them.

    A bar appears with the first report of its part, so that a mistake made before leaves one line
    and no bar.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._bars: dict[str, ProgressReporter] = {}

    def __enter__(self) -> Stages:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def report(
        self, part: str, count: int, total: int, note: str = "", *, every: bool = False
    ) -> None:
        """Say how far a part is; the bar of another part ends. `every` is as of `progress`."""
        if part not in self._bars:
            self._close()
            self._bars[part] = self._stack.enter_context(progress(part, total, every=every))
        self._bars[part].report(count, total, note)

    def say(self, view: RenderableType) -> None:
        """Print a line or a table below the bar, which ends."""
        self._close()
        # A user's words may hold what rich would take for markup.
        console().print(view, markup=False, soft_wrap=isinstance(view, str))

    def _close(self) -> None:
        self._stack.close()
        self._bars.clear()


def done(made: str, next_command: str | None = None) -> None:
    """End a command: what it made, and what to run next."""
    out = console()
    out.print(made, markup=False, soft_wrap=True)
    if next_command:
        out.print("Next: " + next_command, markup=False, soft_wrap=True)
