"""Hours in minutes: good and bad requests in turns, and what they leave behind."""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

from benchmarks.stressing.calling import Connection, Tally, picture_request, run
from benchmarks.stressing.promises import Promise
from benchmarks.stressing.replicas import Replica, Setting, replica

CONNECTIONS = 6
SAMPLE_SECONDS = 1.0
WARM_UP = 0.25
"""Share of the time after which memory and descriptors are to stay as they are."""
GROWTH = 0.05
"""Share by which memory may differ at the end: allocators keep what they may need again."""


@dataclass
class Samples:
    """Memory and descriptors over time."""

    at: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    def settled(self, values: list[int]) -> tuple[float, float]:
        """Medians just after warming up, and at the end."""
        count = len(values)
        start, width = int(count * WARM_UP), max(1, count // 5)
        return statistics.median(values[start : start + width]), statistics.median(values[-width:])


def mixed(setting: Setting) -> list[Promise]:
    """Memory stays flat, no descriptor is left open, nothing is a 5xx."""
    with replica(setting) as service:
        workers = {worker.pid for worker in service.workers()}
        samples, stop = Samples(), threading.Event()
        watcher = threading.Thread(target=_watch, args=(service, samples, stop))
        watcher.start()
        tally = run(_traffic(service, setting))
        stop.set()
        watcher.join()
        time.sleep(6)  # idle connections are closed after five seconds
        left = service.descriptors()
        same = {worker.pid for worker in service.workers()} == workers
    return _judge(setting, tally, samples, left, same)


def _judge(
    setting: Setting, tally: Tally, samples: Samples, left: int, same: bool
) -> list[Promise]:
    statuses = tally.statuses()
    faults = sum(n for status, n in statuses.items() if status.startswith("5"))
    before, after = samples.settled(samples.memory)
    opened, open_still = samples.settled(samples.descriptors)
    return [
        Promise(
            f"good and bad traffic for {setting.seconds:.0f} s",
            f"{len(tally.outcomes)} requests: {dict(sorted(statuses.items()))}",
        ),
        Promise("nothing is answered 5xx", f"{faults}", faults == 0),
        Promise("nothing is lost", f"{len(tally.lost())}", not tally.lost()),
        Promise(
            "memory is flat",
            f"{before / 1e6:.0f} MB, then {after / 1e6:.0f} MB ({after / before - 1:+.1%})",
            after <= before * (1 + GROWTH),
        ),
        Promise(
            "no descriptor is left open",
            f"{opened:.0f}, then {open_still:.0f}; without traffic {left}",
            open_still <= opened + 2 * CONNECTIONS and left <= opened,
        ),
        Promise("no worker has died", "none" if same else "some", same),
    ]


def _watch(service: Replica, samples: Samples, stop: threading.Event) -> None:
    while not stop.wait(SAMPLE_SECONDS):
        samples.at.append(time.perf_counter())
        samples.memory.append(service.memory())
        samples.descriptors.append(service.descriptors())


async def _traffic(service: Replica, setting: Setting) -> Tally:
    tally, end = Tally(), time.perf_counter() + setting.seconds
    kinds = _requests(setting.pictures)
    pause = CONNECTIONS / setting.rate if setting.rate else 0.0

    async def caller(seed: int) -> None:
        chance = random.Random(seed)
        connection = Connection([service.port])
        while time.perf_counter() < end:
            if chance.random() < 0.05:
                await _hang_up(service.port, chance.choice(kinds))
            elif chance.random() < 0.02:
                connection.close()
            tally.outcomes.append(await connection.send(chance.choice(kinds)))
            await asyncio.sleep(pause * 2 * chance.random())
        connection.close()

    await asyncio.gather(*(caller(seed) for seed in range(CONNECTIONS)))
    return tally


def _requests(pictures: list[bytes]) -> list[bytes]:
    """Half good; the rest is what a service on the internet gets to see."""
    chance = random.Random(0)
    some = [chance.choice(pictures) for _ in range(20)]
    good = [picture_request(one) for one in some]
    good.append(_post("/v1/classify?top_k=1&label_sets=false", "image/jpeg", some[0]))
    good.append(_get("/v1/model"))
    noise = os.urandom(2000)
    cut = [one[: len(one) // chance.randint(2, 9)] for one in some[:5]]
    flipped = [bytes(b ^ (chance.random() < 0.001) * 255 for b in one) for one in some[:5]]
    bad = [picture_request(one) for one in (b"", noise, b"\xff\xd8\xff" + noise, *cut, *flipped)]
    bad += [
        _post("/v1/classify", "application/json", json.dumps({"image": "http://a/"}).encode()),
        _post("/v1/classify", "multipart/form-data; boundary=x", b"--x\r\nno form"),
        _post("/v1/classify?top_k=many", "image/jpeg", some[0]),
        _post("/v1/classify_batch", "image/jpeg", some[0]),
        _post("/v1/classify", "application/vnd.bentoml+pickle", b"\x80\x04."),
        _post("/v1/model", "image/jpeg", b"x"),
        *(_get(f"/{chance.random()}?{'x' * 200}") for _ in range(5)),
    ]
    return good + bad


def _post(path: str, kind: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


async def _hang_up(port: int, request: bytes) -> None:
    """Send most of a request and leave."""
    with suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request[: max(20, len(request) - 10)])
        await writer.drain()
        writer.close()
