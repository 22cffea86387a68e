"""Five times as many requests as can be answered."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from benchmarks.stressing.calling import (
    Tally,
    ask_at_rate,
    keep_asking,
    percentile,
    picture_request,
    run,
)
from benchmarks.stressing.promises import Promise
from benchmarks.stressing.replicas import Replica, Setting, replica
from monitoring.objectives import CLASSIFIER

TIMES = 5
CONNECTIONS = 8
CALIBRATION_SECONDS = 5.0
RECOVERY_SECONDS = 5.0
AT_ONCE = 0.5
"""Seconds within which 99 of 100 refusals are to be there."""


def overload(setting: Setting) -> list[Promise]:
    """What comes in time is answered in time, and the rest is told to come back."""
    requests = [picture_request(one) for one in setting.pictures]
    with replica(setting) as service:
        capacity = _capacity(service, requests)
        begun = time.perf_counter() + 0.2
        due = list(arrivals(begun, setting.seconds, TIMES * capacity))
        tally = run(ask_at_rate(service.port, requests, due))
        recovered = _recovery(service, requests, capacity)
    return _judge(setting, tally, capacity, recovered)


def arrivals(begun: float, seconds: float, rate: float) -> Iterator[float]:
    """When callers come who know nothing of each other (a Poisson process)."""
    chance = random.Random(0)
    at = begun
    while (at := at + chance.expovariate(rate)) < begun + seconds:
        yield at


def _capacity(service: Replica, requests: list[bytes]) -> float:
    """Answers per second to callers who wait for theirs."""
    end = time.perf_counter() + CALIBRATION_SECONDS
    tally = run(
        keep_asking([service.port], requests, CONNECTIONS, lambda: time.perf_counter() > end)
    )
    return len(tally.answered(200)) / CALIBRATION_SECONDS


def _recovery(service: Replica, requests: list[bytes], capacity: float) -> float | None:
    """Seconds from the overload's end to a second in which all is as before."""
    begun = time.perf_counter()
    end = begun + RECOVERY_SECONDS
    tally = run(
        keep_asking([service.port], requests, CONNECTIONS, lambda: time.perf_counter() > end)
    )
    for step in range(int(2 * RECOVERY_SECONDS) - 1):
        second = tally.between(begun + step / 2, begun + step / 2 + 1)
        good = second.answered(200)
        calm = len(good) == len(second.outcomes) and percentile(good, 0.99) < CLASSIFIER.seconds
        if calm and len(good) > capacity / 2:
            return step / 2
    return None


def _judge(
    setting: Setting, tally: Tally, capacity: float, recovered: float | None
) -> list[Promise]:
    good, refused = tally.answered(200), tally.answered(429, 503)
    others = len(tally.outcomes) - len(good) - len(refused) - len(tally.lost())
    p99 = percentile(good, 0.99)
    told = sum(one.retry_after for one in refused)
    late = percentile(refused, 0.99)
    rate = len(good) / setting.seconds
    delay = sorted(one.late for one in tally.outcomes)[int(0.99 * len(tally.outcomes))]
    return [
        Promise(
            f"{TIMES} times capacity for {setting.seconds:.0f} s",
            f"capacity {capacity:.0f}/s, offered {len(tally.outcomes) / setting.seconds:.0f}/s; "
            f"99 % sent within {delay:.2f} s of when they were due",
        ),
        Promise(
            f"p99 of what is accepted at most {CLASSIFIER.seconds:g} s",
            f"{p99:.3f} s (p50 {percentile(good, 0.5):.3f} s)",
            p99 <= CLASSIFIER.seconds,
        ),
        Promise(
            "work goes on: at least half of capacity",
            f"{rate:.0f}/s answered 200 ({rate / capacity:.0%})",
            rate >= capacity / 2,
        ),
        Promise(
            "the rest gets 429 or 503 with Retry-After",
            f"{told} of {len(refused)}; other statuses {others}",
            told == len(refused) and others == 0,
        ),
        Promise(
            f"at once: 99 % of them within {AT_ONCE:g} s",
            f"p99 {late:.3f} s, p50 {percentile(refused, 0.5):.4f} s",
            late <= AT_ONCE,
        ),
        Promise("nothing is lost", f"{len(tally.lost())} lost", not tally.lost()),
        Promise(
            "recovers in seconds",
            "not yet" if recovered is None else f"after {recovered:.1f} s",
            recovered is not None and recovered <= 3,
        ),
    ]
