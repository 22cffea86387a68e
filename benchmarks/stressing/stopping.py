"""Processes that end under load: a killed worker, and a service that is told to stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from benchmarks.stressing.calling import REFUSED, Tally, keep_asking, picture_request, run
from benchmarks.stressing.promises import Promise
from benchmarks.stressing.replicas import WORKERS, Replica, Setting, replica

CONNECTIONS = 8
BEFORE = 4.0
"""Seconds of load before anything happens."""
BACK_SECONDS = 20.0
"""Capacity is to be back within so long; a worker starts in a third of that on an idle machine."""
CONTAINER = {"BENTOML_CONTAINERIZED": "true"}
"""As in images that BentoML builds, where its supervisor would leave the dead alone."""


def worker_killed(setting: Setting) -> list[Promise]:
    """A worker is killed (kill -9)."""
    requests = [picture_request(one) for one in setting.pictures]
    with replica(setting, **CONTAINER) as service:
        supervisor = service.running.pid
        before = {worker.pid for worker in service.workers()}
        back: list[float] = []

        async def happen() -> None:
            await asyncio.sleep(BEFORE)
            service.workers()[0].kill()
            killed = time.perf_counter()
            while time.perf_counter() - killed < BACK_SECONDS:
                await asyncio.sleep(0.25)
                new = {worker.pid for worker in service.workers()} - before
                ready = await asyncio.to_thread(service.metric, "porcelain_workers_ready")
                if new and ready == WORKERS:
                    back.append(time.perf_counter() - killed)
                    break
            await asyncio.sleep(BEFORE + 1)

        begun, tally = run(_under_load([service], requests, happen))
        after = {worker.pid for worker in service.workers()}
        same = service.running.processes()[0].pid == supervisor
    last = max(one.at for one in tally.outcomes)
    rates = [
        len(tally.between(start, start + BEFORE).answered(200)) / BEFORE
        for start in (begun, last - BEFORE)
    ]
    failed = len(tally.outcomes) - len(tally.answered(200))
    return [
        Promise(
            "only what the worker had in hand fails",
            f"{failed} of {len(tally.outcomes)} requests: {dict(tally.statuses())}",
            failed <= CONNECTIONS,
        ),
        Promise(
            f"another takes its place within {BACK_SECONDS:.0f} s, under load",
            f"after {back[0]:.1f} s" if back else "never",
            bool(back),
        ),
        Promise(
            "and its share of the requests",
            f"{rates[0]:.0f}/s before, {rates[1]:.0f}/s after",
            rates[1] >= 0.7 * rates[0],
        ),
        Promise(
            "without a restart by hand",
            f"same supervisor: {same}; workers replaced: {len(after - before)}",
            same and len(after) == WORKERS and len(after - before) == 1,
        ),
    ]


def stopping(setting: Setting) -> list[Promise]:
    """SIGTERM of one of two replicas, then of the other."""
    requests = [picture_request(one) for one in setting.pictures]
    with replica(setting, "first") as first, replica(setting, "second") as second:
        first_rows = _stop(first, [first, second], requests, "with another replica")
        second_rows = _stop(second, [second], requests, "alone")
    return first_rows + second_rows


def _stop(
    leaving: Replica, replicas: list[Replica], requests: list[bytes], how: str
) -> list[Promise]:
    ended: list[float] = []
    unready: list[bool] = []

    async def happen() -> None:
        await asyncio.sleep(BEFORE)
        process = leaving.running.processes()[0]
        process.terminate()
        told = time.perf_counter()
        await asyncio.sleep(0.2)
        unready.append(not await asyncio.to_thread(leaving.ready))
        while process.is_running() and process.status() != "zombie":
            await asyncio.sleep(0.05)
        ended.append(time.perf_counter() - told)
        await asyncio.sleep(1.0)

    _, tally = run(_under_load(replicas, requests, happen))
    good, refused = tally.answered(200), tally.statuses()[REFUSED]
    failed = len(tally.outcomes) - len(good) - refused
    allowed = 0 if len(replicas) > 1 else refused
    return [
        Promise(
            f"{how}: no request fails",
            f"{failed} of {len(good) + failed} failed; refused a connection: {refused}",
            failed == 0 and refused == allowed,
        ),
        Promise(
            f"{how}: it is out of rotation at once and ends by itself",
            f"/readyz refused: {unready[0]}; ended after {ended[0]:.1f} s",
            unready[0],
        ),
    ]


async def _under_load(
    replicas: list[Replica],
    requests: list[bytes],
    happen: Callable[[], Coroutine[Any, Any, None]],
) -> tuple[float, Tally]:
    """Load for as long as `happen` lasts."""
    begun = time.perf_counter()
    event = asyncio.create_task(happen())
    tally = await keep_asking([one.port for one in replicas], requests, CONNECTIONS, event.done)
    await event
    return begun, tally
