"""Refusing what would wait too long: bursts come in, standing queues do not grow."""

from __future__ import annotations

import heapq
from contextlib import ExitStack

import pytest

from services.pace import BURST, LEAST, LONGEST_RETRY, Pace
from services.problems import Problem

TURN = 0.01


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def simulate(rate: float, seconds: float, max_wait: float = 0.25) -> tuple[list[float], int]:
    """Arrivals at a rate, work of `TURN` seconds one after the other.

    Returns:
        Seconds from arrival to answer of what was accepted, in order; and how many were refused.
    """
    clock = Clock()
    pace = Pace(max_wait, clock)
    free, refused, latencies = clock.now, 0, []
    ends: list[tuple[float, int, ExitStack]] = []
    for number in range(int(rate * seconds)):
        arrival = 100.0 + number / rate
        while ends and ends[0][0] <= arrival:
            clock.now, _, stack = heapq.heappop(ends)
            stack.close()
        clock.now = arrival
        try:
            pace.check()
        except Problem as problem:
            told = problem.http_status == 429 and int(problem.headers["Retry-After"])
            refused += 1 <= told <= LONGEST_RETRY
            continue
        stack = ExitStack()
        stack.enter_context(pace.turn())
        free = max(free, arrival) + TURN
        heapq.heappush(ends, (free, number, stack))
        latencies.append(free - arrival)
    return latencies, refused


def test_nobody_is_refused_within_capacity() -> None:
    latencies, refused = simulate(rate=0.95 / TURN, seconds=20)
    assert refused == 0
    assert max(latencies) < 2 * TURN


def test_of_five_times_too_many_as_many_are_served_as_can_be_in_time() -> None:
    latencies, refused = simulate(rate=5 / TURN, seconds=30)
    settled = latencies[len(latencies) // 10 :]
    assert max(settled) < 0.3
    assert sum(latency > 0.5 for latency in latencies) < 80  # of the burst at the beginning
    assert len(latencies) == pytest.approx(30 / TURN, rel=0.05)
    assert refused == 5 * 30 / TURN - len(latencies)


def test_a_burst_is_let_in_whole() -> None:
    latencies, refused = simulate(rate=1000, seconds=0.055)
    assert (len(latencies), refused) == (55, 0)
    assert 0.25 < max(latencies) < BURST * 0.25


def test_a_few_may_always_wait_however_slow_the_work_is() -> None:
    clock = Clock()
    pace = Pace(0.25, clock)
    with pace.turn():
        clock.now += 60
    with ExitStack() as waiting:
        for _ in range(LEAST):
            pace.check()
            waiting.enter_context(pace.turn())
        with pytest.raises(Problem):
            pace.check()


def test_after_an_overload_bursts_are_let_in_again() -> None:
    clock = Clock()
    pace = Pace(0.01, clock)
    for _ in range(2):
        with ExitStack() as waiting:
            for _ in range(2 * LEAST):
                waiting.enter_context(pace.turn())
            clock.now += 1
        assert pace.wait == 0
        pace.check()
