"""What every command shows: progress with an estimate, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

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


def console() -> Console:
    """Where people read: standard error, so that standard output stays for data."""
    return Console(stderr=True, highlight=False)


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[ProgressReporter]:
    """A progress bar with elapsed and remaining time."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console(),
    ) as bar:
        yield ProgressReporter(bar, bar.add_task(description, total=total, note=""))


class ProgressReporter:
    """Moves one bar; independent of rich for those who call it."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar = bar
        self._task = task

    def total(self, count: int) -> None:
        """Say how many steps there will be."""
        self._bar.update(self._task, total=count)

    def completed(self, count: int, note: str = "") -> None:
        """Say how many steps are done, with a short note beside the bar."""
        self._bar.update(self._task, completed=count, note=note)

    def report(self, count: int, total: int, note: str = "") -> None:
        """Say how many steps are done, and of how many."""
        self.total(total)
        self.completed(count, note)

    def advance(self, count: int = 1) -> None:
        """Say that `count` more steps are done."""
        self._bar.advance(self._task, count)


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

    def report(self, part: str, count: int, total: int, note: str = "") -> None:
        """Say how far a part is; the bar of another part ends."""
        if part not in self._bars:
            self._close()
            self._bars[part] = self._stack.enter_context(progress(part, total))
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
