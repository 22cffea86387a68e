"""The shipped nginx before real replicas: slow and greedy callers, and replicas that stop."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from benchmarks.nginx_proxy import NGINX, SHIPPED, proxy
from monitoring.objectives import CLASSIFIER
from porcelain.cli.local_server import free_port
from tests import pictures
from tests.services.conftest import bundle, start_server
from tests.services.servers import Server

__all__ = ["bundle"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
]
GOOD = pictures.jpeg(pictures.scene(640, 480))
GREEDY = "127.0.0.2"
"""The address of callers that take too much; the others are 127.0.0.1."""


@dataclass
class Replicas:
    """Two one-worker replicas behind nginx, and how to ask."""

    url: str
    running: list[Server]
    start: Callable[[int], Server]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def ask(self, client: httpx.Client) -> int:
        answer = client.post(self.url + "/v1/classify", files={"image": ("a.jpg", GOOD)})
        return answer.status_code

    def latencies(self, seconds: float) -> list[float]:
        """Of one patient caller's requests, all of which are to be answered."""
        taken = []
        with httpx.Client(timeout=30) as client:
            begun = time.monotonic()
            while time.monotonic() - begun < seconds:
                asked = time.monotonic()
                assert self.ask(client) == 200
                taken.append(time.monotonic() - asked)
                time.sleep(0.1)
        return taken


@pytest.fixture
def replicas(bundle: Path, tmp_path: Path) -> Iterator[Replicas]:
    ports = [free_port(), free_port()]

    def start(index: int) -> Server:
        log = tmp_path / f"{index}-{time.monotonic()}.log"
        given = ("--workers", "1")
        return start_server(bundle, log, *given, port=ports[index], MAX_WAIT_SECONDS="20")

    running = [start(index) for index in range(2)]
    names = [f"127.0.0.1:{port}" for port in ports]
    port = free_port()
    with proxy(tmp_path / "nginx", port, names):
        found = Replicas(f"http://127.0.0.1:{port}", running, start)
        yield found
        for server in found.running:
            server.stop()


def fast_enough(taken: list[float]) -> bool:
    """Whether the objective held, with patience for a machine that does other things."""
    return sorted(taken)[int(len(taken) * 0.9)] < 10 * CLASSIFIER.seconds


def connect(port: int) -> socket.socket:
    made = socket.socket()
    made.bind((GREEDY, 0))
    made.settimeout(30)
    made.connect(("127.0.0.1", port))
    return made


def test_slow_heads_and_bodies_harm_nobody_else(replicas: Replicas) -> None:
    held = [connect(replicas.port) for _ in range(90)]
    for number, one in enumerate(held):
        one.sendall(b"POST /v1/classify HTTP/1.1\r\nHost: a\r\n")
        if number % 2:
            one.sendall(b"Content-Type: image/jpeg\r\nContent-Length: 100000\r\n\r\n\xff\xd8")
    assert fast_enough(replicas.latencies(14))
    # None of them reached a replica, and none is still there.
    for one in held:
        with suppress(ConnectionResetError):  # which is how nginx ends what has timed out
            while one.recv(4096):
                pass
        one.close()
    for server in replicas.running:
        assert server.metrics()["porcelain_http_requests_in_progress"] == 0


def test_oversized_heads_are_refused(replicas: Replicas) -> None:
    with connect(replicas.port) as one:
        one.sendall(b"GET /v1/model HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 40_000 + b"\r\n\r\n")
        assert one.recv(4096).split()[1] in (b"400", b"431")
    answer = httpx.post(
        replicas.url + "/v1/classify",
        content=bytes(140 * 1024 * 1024),
        headers={"Content-Type": "image/jpeg"},
        timeout=60,
    )
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 413


def test_a_thousand_connections_and_requests_ahead_harm_nobody_else(replicas: Replicas) -> None:
    held = [connect(replicas.port) for _ in range(1000)]
    ahead = b"GET /v1/model HTTP/1.1\r\nHost: a\r\n\r\n" * 2000
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(replicas.latencies, 6)
        for one in held[:3]:
            one.settimeout(2)
            with suppress(OSError):
                one.sendall(ahead)
        assert fast_enough(asking.result())
    for one in held:
        one.close()


def test_metrics_stay_inside_and_what_nginx_refuses_is_a_problem(replicas: Replicas) -> None:
    assert httpx.get(replicas.url + "/metrics").status_code == 404
    assert httpx.get(replicas.url + "/readyz").status_code == 200
    statuses: Counter[int] = Counter()
    with httpx.Client(transport=httpx.HTTPTransport(local_address=GREEDY), timeout=30) as client:
        for _ in range(900):
            answer = client.get(replicas.url + "/v1/model")
            statuses[answer.status_code] += 1
            if answer.status_code == 429:
                assert answer.headers["retry-after"] == "1"
                assert answer.json()["type"].endswith("rate_limit")
    assert set(statuses) <= {200, 429}


async def keep_asking(url: str, until: asyncio.Event, statuses: Counter[int | str]) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        while not until.is_set():
            try:
                answer = await client.post(url + "/v1/classify", files={"image": ("a.jpg", GOOD)})
                statuses[answer.status_code] += 1
            except httpx.HTTPError as error:
                statuses[type(error).__name__] += 1


def under_load(replicas: Replicas, happen: Callable[[], None]) -> Counter[int | str]:
    """What eight callers were answered while something happened."""
    statuses: Counter[int | str] = Counter()

    async def run() -> None:
        done = asyncio.Event()
        callers = [asyncio.create_task(keep_asking(replicas.url, done, statuses)) for _ in range(8)]
        await asyncio.sleep(2)
        await asyncio.to_thread(happen)
        await asyncio.sleep(2)
        done.set()
        await asyncio.gather(*callers)

    asyncio.run(run())
    return statuses


def test_a_rolling_restart_loses_nothing(replicas: Replicas) -> None:
    def restart() -> None:
        for index in range(2):
            assert replicas.running[index].stop() == 0
            replicas.running[index] = replicas.start(index)
            time.sleep(3)  # nginx asks a replica that was away again after two seconds

    statuses = under_load(replicas, restart)
    assert set(statuses) == {200}, statuses
    assert statuses[200] > 50


def test_a_killed_replica_loses_at_most_what_it_held(replicas: Replicas) -> None:
    def kill() -> None:
        for worker in replicas.running[0].workers():
            worker.kill()
        replicas.running[0].process.kill()
        time.sleep(3)

    statuses = under_load(replicas, kill)
    lost = sum(count for status, count in statuses.items() if status != 200)
    assert lost <= 8, statuses
    assert statuses[200] > 20


@pytest.mark.parametrize("name", ["compose", "classifier", "generator"])
def test_every_shipped_configuration_is_valid(name: str, tmp_path: Path) -> None:
    assert NGINX is not None
    for file in ("nginx.conf", "proxy.conf"):
        shutil.copy(SHIPPED / file, tmp_path)
    text = (SHIPPED / f"{name}.conf").read_text()
    # Names of compose's network, which are looked up when nginx starts.
    for host in ("classifier-1", "classifier-2", "generator:"):
        text = text.replace(f"server {host}", "server 127.0.0.1" + ":" * host.endswith(":"))
    (tmp_path / "server.conf").write_text(text)
    command = [NGINX, "-t", "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
