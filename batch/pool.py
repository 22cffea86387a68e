"""Work on many processes, in order, with a bounded number of items on their way.

Processes rather than threads: per picture they cost the same, they share no lock however many
cores there are, and a decoder that crashes takes one process with it and not the job.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from types import TracebackType
from typing import Any, Final, Generic, Protocol, TypeVar

from porcelain.errors import PorcelainError

Item = TypeVar("Item")
Result = TypeVar("Result")
Given = TypeVar("Given", contravariant=True)
Made = TypeVar("Made", covariant=True)

WAITING_PER_WORKER: Final = 3
"""Chunks on their way for each process: one in work, the others so that none waits for us."""


class Work(Protocol[Given, Made]):
    """What is done in the processes. It is sent to each once, and loads there what it needs."""

    def __call__(self, items: Sequence[Given]) -> Made:
        """The result of a chunk."""
        ...

    def warm_up(self) -> None:
        """Load what is needed; fails where no work could be done."""
        ...

    def crashed(self, item: Given) -> Made:
        """The result of an item that ends the process which works on it."""
        ...


class WorkersDieError(PorcelainError):
    """Processes end before any work is given to them."""


class ProcessPool(Generic[Item, Result]):
    """Processes that do one kind of work."""

    def __init__(self, work: Work[Item, Result], workers: int) -> None:
        """Start nothing yet.

        Args:
            work: Must be picklable.
            workers: Processes.
        """
        self._work = work
        self._workers = workers
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> ProcessPool[Item, Result]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def map(self, chunks: Iterable[Sequence[Item]]) -> Iterator[Result]:
        """Results in the order of `chunks`; one per chunk, or several where a process crashed.

        Raises:
            WorkersDieError: Processes end however little they are given.
            Exception: Whatever the work raises.
        """
        remaining = iter(chunks)
        waiting: deque[tuple[Sequence[Item], Future[Result]]] = deque()
        while True:
            while len(waiting) < self._workers * WAITING_PER_WORKER:
                chunk = next(remaining, None)
                if chunk is None:
                    break
                waiting.append((chunk, self._submit(chunk)))
            if not waiting:
                return
            chunk, future = waiting.popleft()
            try:
                yield future.result()
            except BrokenProcessPool:
                # One of those on their way did it; which one is found by trying them alone.
                self._stop()
                suspects = [(chunk, future), *waiting]
                waiting.clear()
                for chunk, future in suspects:
                    if future.done() and future.exception() is None:
                        yield future.result()
                    else:
                        yield from self._carefully(chunk)
                self._stop()

    def _submit(self, chunk: Sequence[Item], workers: int | None = None) -> Future[Result]:
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                workers or self._workers, _context(), _begin, (self._work,)
            )
        try:
            return self._executor.submit(_run, chunk)
        except BrokenProcessPool as error:
            failed: Future[Result] = Future()
            failed.set_exception(error)
            return failed

    def _carefully(self, chunk: Sequence[Item]) -> Iterator[Result]:
        """Results of a chunk in one process; halved until what ends it is alone."""
        self._check_alive()
        try:
            yield self._submit(chunk).result()
        except BrokenProcessPool:
            self._stop()
            if len(chunk) == 1:
                yield self._work.crashed(chunk[0])
            else:
                middle = len(chunk) // 2
                yield from self._carefully(chunk[:middle])
                yield from self._carefully(chunk[middle:])

    def _check_alive(self) -> None:
        """Start one process, so that no item is blamed for one that cannot live."""
        if self._executor is not None:
            return
        self._executor = ProcessPoolExecutor(1, _context(), _begin, (self._work,))
        try:
            self._executor.submit(_warm_up).result()
        except BrokenProcessPool as error:
            raise WorkersDieError(
                "Worker processes end as soon as they start; is there memory left? Try fewer "
                "--workers."
            ) from error

    def _stop(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None


def start_early() -> None:
    """Begin what the processes of every pool import, beside what the caller does meanwhile."""
    if _context().get_start_method() == "forkserver":
        forkserver.ensure_running()


_here: dict[str, Any] = {}
"""In a worker process, its work."""


def _context() -> BaseContext:
    """Fresh processes, never copies of ours with its threads."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # Imported once and shared by all, so that a process starts in a moment.
    context.set_forkserver_preload(["batch.pictures", "onnxruntime"])
    return context


def _begin(work: Work[Any, Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _here["work"] = work


def _end_with_parent() -> None:
    """A parent that is killed says no goodbye; nobody else would end us."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(chunk: Sequence[Any]) -> Any:  # noqa: ANN401 - whatever the work makes
    return _here["work"](chunk)


def _warm_up() -> None:
    _here["work"].warm_up()
