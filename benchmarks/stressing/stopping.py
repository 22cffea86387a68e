"""A worker that is killed under load."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from benchmarks.stressing.calling import Tally, keep_asking, picture_request, run
from benchmarks.stressing.promises import Promise
from benchmarks.stressing.replicas import WORKERS, Replica, Setting, replica

CONNECTIONS = 8
BEFORE = 4.0
"""Seconds of load before anything happens."""
BACK_SECONDS = 30.0
"""Another worker is to be there within so long: BentoML looks for dead ones every ten seconds."""


def worker_killed(setting: Setting) -> list[Promise]:
    """A worker is killed (kill -9)."""
    requests = [picture_request(one) for one in setting.pictures]
    with replica(setting) as service:
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
