"""Rate limits: token buckets that worker processes share."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import pytest

from services import rate_limit
from services.problems import Problem
from services.rate_limit import RateLimit


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def admitted(limit: RateLimit, caller: str, times: int) -> int:
    refusals = []
    for _ in range(times):
        try:
            limit.admit(caller)
        except Problem as problem:
            refusals.append((problem.http_status, int(problem.headers["Retry-After"]) >= 1))
    assert set(refusals) <= {(429, True)}
    return times - len(refusals)


@pytest.mark.parametrize("shared", [True, False])
def test_a_caller_has_its_burst_and_then_its_rate(tmp_path: Path, shared: bool) -> None:
    clock = Clock()
    limit = RateLimit(tmp_path if shared else None, per_second=2, burst=5, clock=clock)
    assert admitted(limit, "museum", 20) == 5
    assert admitted(limit, "dig", 20) == 5  # another's bucket
    for _ in range(10):
        clock.now += 1
        assert admitted(limit, "museum", 20) == 2
    clock.now += 1000
    assert admitted(limit, "museum", 20) == 5


def test_retry_after_says_when_it_will_be_admitted(tmp_path: Path) -> None:
    clock = Clock()
    limit = RateLimit(tmp_path, per_second=0.1, burst=1, clock=clock)
    limit.admit("museum")
    with pytest.raises(Problem) as refused:
        limit.admit("museum")
    wait = int(refused.value.headers["Retry-After"])
    clock.now += wait - 1
    assert admitted(limit, "museum", 1) == 0
    clock.now += 1
    assert admitted(limit, "museum", 1) == 1


def test_pictures_of_one_request_count_each(tmp_path: Path) -> None:
    clock = Clock()
    limit = RateLimit(tmp_path, per_second=1, burst=10, clock=clock)
    limit.admit("museum")
    limit.charge("museum", 63)  # 54 more than it had
    clock.now += 54
    assert admitted(limit, "museum", 1) == 0
    clock.now += 2
    assert admitted(limit, "museum", 1) == 1


def test_nothing_is_limited_unless_asked(tmp_path: Path) -> None:
    limit = RateLimit(tmp_path, per_second=0, burst=1)
    assert admitted(limit, "museum", 1000) == 1000
    assert not list(tmp_path.iterdir())


def ask(folder: Path, times: int, count: multiprocessing.Queue[int]) -> None:
    count.put(admitted(RateLimit(folder, per_second=0.001, burst=100), "museum", times))


def test_workers_count_together(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    count = context.Queue()
    workers = [context.Process(target=ask, args=(tmp_path, 200, count)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert sum(count.get() for _ in workers) == 100


def test_more_callers_than_places_are_told_apart_no_more_but_never_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rate_limit, "SLOTS", 16)
    limit = RateLimit(None, per_second=1, burst=2, clock=Clock())
    for i in range(200):
        assert admitted(limit, f"caller {i}", 3) >= 2
    assert admitted(limit, "caller 199", 1) == 0


def test_it_costs_microseconds(tmp_path: Path) -> None:
    limit = RateLimit(tmp_path, per_second=1e9, burst=10**9)
    begun = time.perf_counter()
    assert admitted(limit, "museum", 2000) == 2000
    assert (time.perf_counter() - begun) / 2000 < 0.0005
