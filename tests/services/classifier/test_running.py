"""The classifier's server as a process: load, workers, metrics, start and stop."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil

from tests import pictures
from tests.services.conftest import Server

COLOURS = ("red", "lime", "blue")
NAMES = {"red": "red", "lime": "green", "blue": "blue"}


def mixed_requests(count: int) -> list[tuple[bytes, str | None]]:
    """Pictures with the right answer, every second one bad."""
    good = [(pictures.jpeg(pictures.scene(640, 480, colour)), NAMES[colour]) for colour in COLOURS]
    whole = pictures.jpeg(pictures.scene(640, 480))
    bad = [b"", pictures.PDF, pictures.png_bomb(), whole[: len(whole) // 2], pictures.HTML]
    return [
        good[i // 2 % len(good)] if i % 2 == 0 else (bad[i // 2 % len(bad)], None)
        for i in range(count)
    ]


async def send_at_once(server: Server, items: list[tuple[bytes, str | None]]) -> list[int]:
    limits = httpx.Limits(max_connections=len(items))
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:

        async def send(data: bytes, expected: str | None) -> int:
            files = {"image": ("a.jpg", data)}
            response = await client.post(server.url + "/v1/classify", files=files)
            server.check("POST", "/v1/classify", response)
            if expected is not None:
                assert response.json()["predictions"]["dynasty"]["label"] == expected
            return response.status_code

        return await asyncio.gather(*(send(*item) for item in items))


def memory(server: Server) -> int:
    return sum(worker.memory_info().rss for worker in server.workers())


def test_200_requests_at_once_of_which_half_are_bad(server: Server) -> None:
    items = mixed_requests(200)
    workers = [worker.pid for worker in server.workers()]
    asyncio.run(send_at_once(server, items))
    before = memory(server)
    for _ in range(2):
        statuses = asyncio.run(send_at_once(server, items))
        for (_, expected), status in zip(items, statuses, strict=True):
            assert status == 200 if expected else 400 <= status < 500
    assert [worker.pid for worker in server.workers()] == workers
    assert memory(server) < before + 30_000_000


def test_health_is_answered_while_large_pictures_are_decoded(server: Server) -> None:
    large = pictures.encode(pictures.scene(6000, 5000), "PNG", compress_level=1)
    with ThreadPoolExecutor(4) as pool:
        work = [
            pool.submit(
                httpx.post,
                server.url + "/v1/classify",
                timeout=60,
                content=large,
                headers={"Content-Type": "image/png"},
            )
            for _ in range(4)
        ]
        slowest = 0.0
        while not all(job.done() for job in work):
            begun = time.monotonic()
            assert httpx.get(server.url + "/livez", timeout=10).status_code == 200
            slowest = max(slowest, time.monotonic() - begun)
    assert all(job.result().status_code == 200 for job in work)
    assert slowest < 1.0


def test_metrics_add_up_over_the_workers(server: Server) -> None:
    before = server.metrics()
    blue = pictures.jpeg(pictures.scene(colour="blue"))
    for _ in range(10):  # a connection each, so that both workers answer
        httpx.post(server.url + "/v1/classify", files={"image": ("a.jpg", blue)})
        httpx.post(server.url + "/v1/classify", files={"image": ("a.jpg", b"")})
    httpx.get(server.url + "/wp-login.php")
    after = server.metrics()

    def grown(series: str) -> float:
        return after[series] - before.get(series, 0.0)

    assert grown('porcelain_predictions_total{label="blue",task="dynasty"}') == 10
    assert grown('porcelain_prediction_confidence_count{task="glaze"}') == 10
    assert grown('porcelain_abstentions_total{task="type"}') == 10
    assert grown('porcelain_decode_failures_total{reason="corrupt"}') == 10
    assert grown('porcelain_http_requests_total{route="/v1/classify",status="200"}') == 10
    assert grown('porcelain_http_requests_total{route="/v1/classify",status="422"}') == 10
    assert grown('porcelain_http_requests_total{route="unknown",status="404"}') == 1
    assert grown('porcelain_stage_duration_seconds_count{stage="decode"}') == 10
    assert grown('porcelain_stage_duration_seconds_count{stage="inference"}') == 10
    assert after["porcelain_http_requests_in_progress"] == 0


def test_unknown_paths_and_methods_make_no_series(server: Server) -> None:
    httpx.get(server.url + "/scan/0")
    before = len(server.metrics())
    for i in range(50):
        httpx.get(server.url + f"/scan/{i}?x={i}")
    assert len(server.metrics()) == before


def test_a_worker_is_small_and_free_of_torch(server: Server) -> None:
    workers = server.workers()
    assert len(workers) == 2
    for worker in workers:
        assert worker.memory_info().rss < 350_000_000
        libraries = Path(f"/proc/{worker.pid}/maps")
        if libraries.exists():
            mapped = libraries.read_text()
            assert "onnxruntime" in mapped
            assert "libtorch" not in mapped


def test_it_listens_on_loopback_only(server: Server) -> None:
    for process in [psutil.Process(server.process.pid), *server.workers()]:
        for connection in process.net_connections(kind="inet"):
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr.ip == "127.0.0.1"
