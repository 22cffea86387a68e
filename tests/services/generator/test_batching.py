"""The queue, driven without a model and without HTTP."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from services.generator.batching import (
    LONGEST_RETRY,
    Batch,
    Batcher,
    Job,
    QueueFullError,
    take_batch,
)

Made = list[list[int]]


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))


def tens(item: int) -> int:
    return item // 10


def batcher(made: Made, seconds: float = 0.01, **options: Any) -> Batcher[int, str]:
    async def work(batch: Batch[int, str]) -> list[str | Exception]:
        made.append(batch.items)
        await asyncio.sleep(seconds)
        return [ValueError(item) if item < 0 else str(item) for item in batch.items]

    return Batcher(work, **{"key": tens, "max_batch": 4, "max_waiting": 100, **options})


def test_a_batch_is_the_oldest_item_and_its_like() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        waiting: deque[Job[int, str]] = deque(
            Job(item, loop.create_future()) for item in (11, 25, 13, 21, 14, 31, 15)
        )
        taken = []
        while waiting:
            taken.append(take_batch(waiting, 3, tens).items)
        assert taken == [[11, 13, 14], [25, 21], [31], [15]]
        assert not take_batch(waiting, 3, tens).jobs

    run(test)


def test_everyone_gets_what_they_asked_for_in_their_order() -> None:
    async def test() -> None:
        made: Made = []
        queue = batcher(made)
        serving = asyncio.create_task(queue.run())
        asked = [[i, i + 10, i + 20] for i in range(10)]
        answers = await asyncio.gather(*(queue.submit(items) for items in asked))
        assert answers == [[str(item) for item in items] for items in asked]
        assert all(len(batch) <= 4 and len({tens(item) for item in batch}) == 1 for batch in made)
        assert len(made) == 9  # 10 of each kind, 4 at a time
        serving.cancel()

    run(test)


def test_what_arrives_meanwhile_is_one_batch_and_nobody_waits_idle() -> None:
    async def test() -> None:
        made: Made = []
        queue = batcher(made, seconds=0.05, max_batch=8)
        serving = asyncio.create_task(queue.run())
        first = asyncio.create_task(queue.submit([1]))
        await asyncio.sleep(0.01)
        assert made == [[1]]
        others = [asyncio.create_task(queue.submit([item])) for item in (2, 3, 4)]
        await asyncio.gather(first, *others)
        assert made == [[1], [2, 3, 4]]
        begun = time.perf_counter()
        await queue.submit([5])
        assert time.perf_counter() - begun < 1
        serving.cancel()

    run(test)


def test_those_who_ask_within_moments_share_a_batch() -> None:
    async def test() -> None:
        made: Made = []
        queue = batcher(made, gather_seconds=0.2, max_batch=3)
        serving = asyncio.create_task(queue.run())

        async def later(item: int) -> list[str]:
            await asyncio.sleep(item * 0.01)
            return await queue.submit([item])

        begun = time.perf_counter()
        await asyncio.gather(*(later(item) for item in (1, 2)))
        assert made == [[1, 2]]
        assert time.perf_counter() - begun < 2
        serving.cancel()

    run(test)


def test_those_who_were_answered_together_are_waited_for() -> None:
    async def test() -> None:
        made: Made = []
        queue = batcher(made, gather_seconds=0.05)
        serving = asyncio.create_task(queue.run())

        async def caller(item: int) -> None:
            await queue.submit([item])
            await asyncio.sleep(item * 0.1)  # longer apart than strangers are waited for
            await queue.submit([item])

        await asyncio.gather(*(caller(item) for item in (1, 2, 3)))
        assert [sorted(batch) for batch in made] == [[1, 2, 3], [1, 2, 3]]
        begun = time.perf_counter()
        await asyncio.sleep(0.6)
        await queue.submit([4])
        assert made[-1] == [4]
        assert time.perf_counter() - begun < 0.6 + 0.3
        serving.cancel()

    run(test)


def test_a_full_queue_refuses_all_of_a_request_and_says_when_to_come_back() -> None:
    async def test() -> None:
        made: Made = []
        queue = batcher(made, seconds=0.3, max_waiting=5)
        serving = asyncio.create_task(queue.run())
        await queue.submit([1])
        kept = asyncio.create_task(queue.submit([2, 3, 4, 5]))
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError) as refusal:
            await queue.submit([6, 7])
        assert refusal.value.retry_seconds == 1
        assert await kept == ["2", "3", "4", "5"]
        queue._seconds_per_item = 1000.0
        assert queue._retry_seconds() == 1
        queue._waiting.extend(Job(1, asyncio.get_running_loop().create_future()) for _ in range(5))
        assert queue._retry_seconds() == LONGEST_RETRY
        serving.cancel()

    run(test)


def test_who_leaves_is_dropped_and_a_batch_that_nobody_wants_knows() -> None:
    async def test() -> None:
        made: Made = []
        told: list[tuple[int, int]] = []
        batches: list[Batch[int, str]] = []

        async def work(batch: Batch[int, str]) -> list[str]:
            batches.append(batch)
            await asyncio.sleep(0.05)
            made.append(batch.items)
            return [str(item) for item in batch.items]

        queue: Batcher[int, str] = Batcher(
            work, key=tens, max_batch=2, max_waiting=9, on_wait=lambda *told_: told.append(told_)
        )
        serving = asyncio.create_task(queue.run())
        tasks = [asyncio.create_task(queue.submit([item])) for item in (1, 2, 3, 4, 5)]
        await asyncio.sleep(0.01)
        for gone in (0, 2, 3):
            tasks[gone].cancel()
        await asyncio.sleep(0.005)
        assert told[-1] == (1, 1)  # room for others at once
        assert await tasks[4] == ["5"]
        assert await tasks[1] == ["2"]
        assert made == [[1, 2], [5]]
        assert batches[0].wanted() is False  # answered
        assert sum(dropped for _, dropped in told) == 2
        assert told[-1][0] == 0
        alone = asyncio.create_task(queue.submit([6]))
        await asyncio.sleep(0.01)
        assert batches[-1].wanted()
        alone.cancel()
        await asyncio.sleep(0)
        assert not batches[-1].wanted()
        serving.cancel()

    run(test)


def test_a_failure_stays_with_its_item() -> None:
    async def test() -> None:
        made: Made = []
        queue = batcher(made, key=lambda _: 0)
        serving = asyncio.create_task(queue.run())
        bad = asyncio.create_task(queue.submit([1, -1]))
        good = asyncio.create_task(queue.submit([2, 3]))
        with pytest.raises(ValueError, match="-1"):
            await bad
        assert await good == ["2", "3"]
        assert made == [[1, -1, 2, 3]]
        serving.cancel()

    run(test)


@pytest.mark.parametrize("wrong", [[], ["1", "2"], None])
def test_work_that_breaks_its_promise_fails_its_batch_only(wrong: Any) -> None:
    async def test() -> None:
        async def work(batch: Batch[int, str]) -> list[str]:
            if batch.items == [1]:
                return wrong  # type: ignore[no-any-return]
            return ["fine"]

        queue: Batcher[int, str] = Batcher(work, key=tens, max_batch=1, max_waiting=9)
        serving = asyncio.create_task(queue.run())
        with pytest.raises((RuntimeError, TypeError)):
            await queue.submit([1])
        assert await queue.submit([2]) == ["fine"]
        serving.cancel()

    run(test)
