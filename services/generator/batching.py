"""Which waiting pictures are made together; knows neither torch nor HTTP."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

LONGEST_RETRY = 60  # seconds: who comes back later than that may as well come back then
RETURNING = 10  # times longer to wait for those who were just answered, and often ask again
RECENT = 0.5  # seconds for which they count as just answered
_SMOOTHING = 0.3  # weight of the newest batch in the mean seconds per item


class QueueFullError(Exception):
    """More would wait than may."""

    def __init__(self, retry_seconds: int) -> None:
        """Say when to come back, by the work that waits."""
        super().__init__(f"try again in {retry_seconds} seconds")
        self.retry_seconds = retry_seconds


class StoppedError(Exception):
    """The queue is served no longer."""


@dataclass(slots=True, eq=False)
class Job(Generic[Item, Result]):
    """One item that waits; its future is cancelled when nobody wants it any more."""

    item: Item
    future: asyncio.Future[Result]
    since: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True, slots=True)
class Batch(Generic[Item, Result]):
    """Items that are made together."""

    jobs: Sequence[Job[Item, Result]]

    @property
    def items(self) -> list[Item]:
        """What is to be made, in order."""
        return [job.item for job in self.jobs]

    def wanted(self) -> bool:
        """Whether anybody still waits for any of it; may be asked from another thread."""
        return any(not job.future.done() for job in self.jobs)


def take_batch(
    waiting: deque[Job[Item, Result]], most: int, key: Callable[[Item], Hashable]
) -> Batch[Item, Result]:
    """Take the oldest item and those of its key that follow; the others keep their order.

    Args:
        waiting: Loses what is taken.
        most: Items in one batch.
        key: Only items of equal keys can be made together.
    """
    same = [job for job in waiting if key(job.item) == key(waiting[0].item)][:most]
    taken = set(map(id, same))
    others = [job for job in waiting if id(job) not in taken]
    waiting.clear()
    waiting.extend(others)
    return Batch(same)


Work = Callable[[Batch[Item, Result]], Awaitable[Sequence[Result | Exception]]]


class Batcher(Generic[Item, Result]):
    """Hands waiting items to `work`, one batch at a time; used from one event loop."""

    def __init__(
        self,
        work: Work[Item, Result],
        *,
        key: Callable[[Item], Hashable],
        max_batch: int,
        max_waiting: int,
        gather_seconds: float = 0.0,
        on_wait: Callable[[int, int], None] = lambda waiting, dropped: None,
    ) -> None:
        """Serve `work`.

        Args:
            work: Makes a batch; gives one result or exception per item, in order.
            key: Only items of equal keys can be made together.
            max_batch: Most items in a batch.
            max_waiting: Most items that wait.
            gather_seconds: A batch that is not full begins when this passes without a new item;
                while fewer wait than were just answered together, `RETURNING` times this.
            on_wait: Told of how many wait, and how many of them just left without a result.
        """
        self._work = work
        self._key = key
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._gather_seconds = gather_seconds
        self._on_wait = on_wait
        self._waiting: deque[Job[Item, Result]] = deque()
        self._arrived = asyncio.Event()
        self._seconds_per_item = 0.0
        self._answered = 0
        self._answered_at = -math.inf

    async def submit(self, items: Sequence[Item]) -> list[Result]:
        """Wait for the results of `items`; when cancelled, they are dropped.

        Raises:
            QueueFullError: Too many wait already; none of `items` does.
            StoppedError: `run` was cancelled.
            Exception: What `work` gave for one of them.
        """
        if len(self._waiting) + len(items) > self._max_waiting:
            raise QueueFullError(self._retry_seconds())
        loop = asyncio.get_running_loop()
        jobs: list[Job[Item, Result]] = [Job(item, loop.create_future()) for item in items]
        self._waiting.extend(jobs)
        self._on_wait(len(self._waiting), 0)
        self._arrived.set()
        try:
            return list(await asyncio.gather(*(job.future for job in jobs)))
        finally:
            for job in jobs:
                job.future.cancel()
            self._forget(set(map(id, jobs)))

    async def run(self) -> None:
        """Serve until cancelled; who waits then gets `StoppedError`."""
        batch: Batch[Item, Result] = Batch([])
        try:
            while True:
                await self._arrived.wait()
                await self._gather()
                batch = take_batch(self._waiting, self._max_batch, self._key)
                self._on_wait(len(self._waiting), 0)
                if batch.jobs:
                    await self._serve(batch)
                if not self._waiting:
                    self._arrived.clear()
        finally:
            for job in (*batch.jobs, *self._waiting):
                if not job.future.done():
                    job.future.set_exception(StoppedError())

    def _forget(self, jobs: set[int]) -> None:
        """Take those of a request that left out of the queue."""
        kept = [job for job in self._waiting if id(job) not in jobs]
        dropped = len(self._waiting) - len(kept)
        if dropped:
            self._waiting.clear()
            self._waiting.extend(kept)
            self._on_wait(len(kept), dropped)

    async def _gather(self) -> None:
        """Let those who ask at the same moment, or were just answered, be in one batch."""
        before = -1
        while before < len(self._waiting) < self._max_batch and self._gather_seconds:
            before = len(self._waiting)
            recent = time.perf_counter() - self._answered_at < RECENT
            expected = recent and before < self._answered
            await asyncio.sleep(self._gather_seconds * (RETURNING if expected else 1))

    async def _serve(self, batch: Batch[Item, Result]) -> None:
        begun = time.perf_counter()
        results: Sequence[Result | Exception]
        try:
            results = await self._work(batch)
            if len(results) != len(batch.jobs):
                raise RuntimeError(f"{len(batch.jobs)} items gave {len(results)} results")
        except Exception as error:  # noqa: BLE001 - callers get it; the queue goes on
            results = [error] * len(batch.jobs)
        newest = (time.perf_counter() - begun) / len(batch.jobs)
        self._seconds_per_item += _SMOOTHING * (newest - self._seconds_per_item)
        for job, result in zip(batch.jobs, results, strict=True):
            if job.future.done():
                continue
            if isinstance(result, Exception):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)
        self._answered, self._answered_at = len(batch.jobs), time.perf_counter()

    def _retry_seconds(self) -> int:
        expected = math.ceil(len(self._waiting) * self._seconds_per_item)
        return min(max(expected, 1), LONGEST_RETRY)
