"""The queue before the model: what is refused, what Retry-After says, who is left out."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from starlette.requests import ClientDisconnect

from services.admission import Admission, DelayBoundedQueue
from services.problems import Problem


async def connected() -> bool:
    return False


async def gone() -> bool:
    return True


class Clock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_admission_counts_requests_and_bytes_and_gives_them_back() -> None:
    admission = Admission(max_requests=2, max_bytes=100)
    with admission.admit() as first, admission.admit():
        first(60)
        with pytest.raises(Problem) as refused, admission.admit():
            pass
        assert refused.value.status_code == 429
        assert refused.value.headers == {"Retry-After": "1"}
        with pytest.raises(Problem):
            first(41)
        first(40)
    assert (admission.requests, admission.bytes) == (0, 0)


def test_what_would_wait_too_long_is_refused_with_the_time_to_come_back() -> None:
    clock = Clock()

    async def run() -> None:
        queue = DelayBoundedQueue(max_queue_delay=2.0, slots=1, clock=clock)
        queue.seconds_per_picture = 1.0
        leave = asyncio.Event()

        async def wait() -> None:
            async with queue.turn(connected):
                await leave.wait()

        tasks = []
        for _ in range(8):  # more than two seconds' work, but so few that it is no overload
            queue.check()
            tasks.append(asyncio.create_task(wait()))
            await asyncio.sleep(0)
        with pytest.raises(Problem) as refused:
            queue.check()
        assert refused.value.status_code == 429
        # Eight seconds of work wait; in six there are two.
        assert refused.value.headers == {"Retry-After": "6"}
        leave.set()
        await asyncio.gather(*tasks)
        queue.check()

    asyncio.run(run())


def test_the_pace_is_learned_from_what_is_done() -> None:
    clock = Clock()

    async def run() -> float:
        queue = DelayBoundedQueue(max_queue_delay=2.0, slots=2, clock=clock)

        async def work() -> None:
            async with queue.turn(connected):
                clock.now += 0.5

        for _ in range(20):
            await work()
        return queue.seconds_per_picture

    assert asyncio.run(run()) == pytest.approx(0.5)


def test_nothing_is_computed_for_a_caller_that_has_hung_up() -> None:
    async def run() -> None:
        queue = DelayBoundedQueue(max_queue_delay=1.0)
        with pytest.raises(ClientDisconnect):
            async with queue.turn(gone):
                raise AssertionError("computed")
        assert queue.delay == 0

    asyncio.run(run())


def test_a_slow_machine_still_admits_a_few() -> None:
    async def run() -> None:
        queue = DelayBoundedQueue(max_queue_delay=0.1)
        queue.seconds_per_picture = 60.0
        async with AsyncExitStack() as held:
            for _ in range(2):
                queue.check()
                await held.enter_async_context(queue.turn(connected))
            queue.check()

    asyncio.run(run())
