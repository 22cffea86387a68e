"""Refusing what would wait too long: bursts come in, standing queues do not grow."""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack

import pytest

from services.pace import BURST, LATE, LEAST, LONGEST_RETRY, Pace, Turn
from services.problems import Problem

TURN = 0.01


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Service:
    """Does one piece of work after the other."""

    def __init__(self, max_wait: float = 0.25) -> None:
        self.clock = Clock()
        self.pace = Pace(max_wait, self.clock)
        self.waiting: deque[tuple[float, ExitStack, Turn]] = deque()
        self.latencies: list[float] = []
        self.refused = 0
        self.given_way: list[float] = []
        self.working_until = self.clock.now
        self.working: tuple[float, ExitStack] | None = None

    def until(self, time: float, seconds: float) -> None:
        """Work as long as there is some, each piece taking `seconds`."""
        while True:
            if self.working is not None:
                if self.working_until > time:
                    break
                self.clock.now = self.working_until
                arrival, stack = self.working
                stack.close()
                self.latencies.append(self.working_until - arrival)
                self.working = None
            if not self.waiting:
                break
            arrival, stack, turn = self.waiting.popleft()
            try:
                turn.begin()
            except Problem:
                self.given_way.append(self.clock.now - arrival)
                stack.close()
            else:
                self.working = arrival, stack
                self.working_until = self.clock.now + seconds
        self.clock.now = time

    def come(self) -> None:
        """One more piece of work, now."""
        try:
            self.pace.check()
        except Problem as problem:
            told = problem.http_status == 429 and int(problem.headers["Retry-After"])
            self.refused += 1 <= told <= LONGEST_RETRY
            return
        stack = ExitStack()
        self.waiting.append((self.clock.now, stack, stack.enter_context(self.pace.turn())))

    def serve(self, rate: float, seconds: float, each: float = TURN) -> None:
        """Arrivals at a rate; whoever waits at the end is answered."""
        begun = self.clock.now
        for number in range(int(rate * seconds)):
            self.until(begun + number / rate, each)
            self.come()
        self.until(begun + seconds, each)

    def finish(self, each: float = TURN) -> None:
        """Answer whoever still waits."""
        while self.waiting or self.working:
            self.until(max(self.clock.now, self.working_until), each)


def simulate(rate: float, seconds: float) -> tuple[list[float], int]:
    """Arrivals at a rate.

    Returns:
        Seconds from arrival to answer of what was accepted, in order; and how many were refused.
    """
    service = Service()
    service.serve(rate, seconds)
    service.finish()
    return service.latencies, service.refused + len(service.given_way)


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


def test_a_burst_that_was_let_in_too_gladly_gives_way_to_others_in_an_overload() -> None:
    service = Service()
    service.serve(rate=0.5 / TURN, seconds=2)
    slowed = 2 * TURN  # refusals and answers share the processor
    service.serve(rate=10 / TURN, seconds=5, each=slowed)
    still = len(service.waiting) + 1
    assert service.pace.wait == pytest.approx(still * slowed, rel=0.05)  # not of those given up
    assert service.given_way
    assert max(service.given_way) < BURST * 0.25 * 2
    assert max(service.latencies) <= LATE * 0.25 + slowed
    assert len(service.latencies) == pytest.approx(0.5 / TURN * 2 + 5 / slowed, rel=0.1)


def test_a_burst_that_was_let_in_too_gladly_is_answered_where_nobody_else_comes() -> None:
    service = Service()
    service.serve(rate=0.5 / TURN, seconds=2)
    before = len(service.latencies)
    service.serve(rate=1000, seconds=0.06)
    service.finish(each=3 * TURN)
    assert (service.refused, service.given_way) == (0, [])
    assert len(service.latencies) == before + 60
    assert max(service.latencies) > LATE * 0.25


def test_a_few_that_were_refused_drive_nobody_out_who_waits() -> None:
    service = Service()
    service.serve(rate=0.5 / TURN, seconds=2)
    service.serve(rate=1000, seconds=0.1)
    assert service.refused > 0
    service.finish(each=3 * TURN)
    assert service.given_way == []


def test_a_burst_is_let_in_whole() -> None:
    latencies, refused = simulate(rate=1000, seconds=0.055)
    assert (len(latencies), refused) == (55, 0)
    assert 0.25 < max(latencies) < BURST * 0.25


def test_on_a_slow_machine_what_comes_too_late_is_refused_at_once_not_when_its_turn_comes() -> None:
    slow = 6 * TURN  # twelve of them are late
    service = Service()
    service.serve(rate=0.5 / slow, seconds=5, each=slow)
    service.serve(rate=5 / slow, seconds=30, each=slow)
    service.finish(each=slow)
    assert len(service.given_way) < 0.01 * service.refused
    settled = service.latencies[len(service.latencies) // 10 :]
    assert max(settled) <= LATE * 0.25
    assert len(service.latencies) == pytest.approx((0.5 * 5 + 30) / slow, rel=0.05)


def test_in_an_overload_one_may_wait_while_another_is_worked_on_however_slow() -> None:
    service = Service()
    service.serve(rate=2, seconds=60, each=2)
    assert service.refused > 0
    assert len(service.latencies) == pytest.approx(30, abs=5)


def test_a_few_callers_who_wait_for_their_answers_are_not_refused_however_slow() -> None:
    service = Service()
    for _ in range(LEAST - 1):
        service.come()
    for _ in range(200):
        before = len(service.latencies)
        service.until(service.clock.now + 0.5, 0.5)
        for _ in range(len(service.latencies) - before):
            service.come()
    assert (service.refused, service.given_way) == (0, [])


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
