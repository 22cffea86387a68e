"""The generator's server under way: batches, callers that leave, metrics, and its end."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.sampling.comparing import ALIKE, psnr
from tests.services.generator.conftest import GeneratorServer
from tests.services.generator.test_rest import decoded
from tests.services.servers import Server, check_log, start_server

KEY = "correct-horse-battery-staple"
LONG = {"steps": 150}
ROUTE = "/v1/generate"
DIFFERENT: list[dict[str, Any]] = [
    {"type": "vase", "seed": 1, "guidance_scale": 7.5},
    {"type": "bowl", "seed": 1, "guidance_scale": 7.5},
    {"type": "bowl", "seed": 2, "guidance_scale": 1.0},
    {"dynasty": "song", "glaze": "celadon", "seed": 3},
    {"kiln": "jingdezhen", "type": "vase", "seed": 4, "guidance_scale": 2.0},
    {"seed": 5, "count": 3},
]


async def at_once(server: Server, bodies: list[dict[str, Any]]) -> list[httpx.Response]:
    limits = httpx.Limits(max_connections=len(bodies))
    async with httpx.AsyncClient(timeout=120, limits=limits) as client:
        work = (client.post(server.url + ROUTE, json=body) for body in bodies)
        responses = await asyncio.gather(*work)
    for response in responses:
        server.check("POST", ROUTE, response)
    return list(responses)


def pictures(response: httpx.Response) -> list[np.ndarray]:
    assert response.status_code == 200, response.text
    return [decoded(base64.b64decode(image["data"])) for image in response.json()["images"]]


def grown(before: dict[str, float], after: dict[str, float], series: str) -> float:
    return after[series] - before.get(series, 0.0)


def test_requests_that_wait_together_are_one_batch_and_get_their_own_pictures(
    generator: GeneratorServer,
) -> None:
    alone = [pictures(generator.generate(**body)) for body in DIFFERENT]
    before = generator.running.metrics()
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(generator.generate, **LONG)
        while generator.running.metrics()["porcelain_http_requests_in_progress"] < 1:
            time.sleep(0.01)
        together = [pictures(r) for r in asyncio.run(at_once(generator.running, DIFFERENT))]
        assert busy.result().status_code == 200
    after = generator.running.metrics()
    for ours, theirs in zip(together, alone, strict=True):
        assert len(ours) == len(theirs)
        assert all(psnr(a, b) >= ALIKE for a, b in zip(ours, theirs, strict=True))
    # One picture alone, then eight in one batch.
    assert grown(before, after, "porcelain_generation_batch_size_count") == 2
    assert grown(before, after, "porcelain_generation_batch_size_sum") == 9
    assert grown(before, after, 'porcelain_generation_batch_size_bucket{le="1.0"}') == 1


def test_different_steps_are_different_batches(generator: GeneratorServer) -> None:
    before = generator.running.metrics()
    bodies = [{"type": "vase", "seed": 1, "steps": steps} for steps in (2, 3, 2, 3, 2, 3)]
    answers = asyncio.run(at_once(generator.running, bodies))
    assert [r.json()["images"][0]["steps"] for r in answers] == [2, 3, 2, 3, 2, 3]
    after = generator.running.metrics()
    assert grown(before, after, "porcelain_generation_batch_size_count") >= 2
    assert grown(before, after, "porcelain_generation_batch_size_sum") == 6


def test_50_at_once_are_answered_or_told_to_come_back(generator: GeneratorServer) -> None:
    bodies = [{**DIFFERENT[i % 5], "seed": i, "count": 1 + i % 3} for i in range(50)]
    responses = asyncio.run(at_once(generator.running, bodies))
    statuses = [response.status_code for response in responses]
    assert set(statuses) == {200, 429}
    for body, response in zip(bodies, responses, strict=True):
        if response.status_code == 429:
            assert 1 <= int(response.headers["retry-after"]) <= 60
        else:
            assert len(pictures(response)) == body["count"]
    assert generator.running.metrics()["porcelain_generation_waiting"] == 0


def test_work_of_callers_that_left_is_dropped(generator: GeneratorServer) -> None:
    running = generator.running
    before = running.metrics()
    with ThreadPoolExecutor(3) as pool:
        # One whose batch runs, and two that wait behind it.
        begun = time.monotonic()
        for _ in range(3):
            pool.submit(leave_soon, running.url, {**LONG, "count": 8})
            time.sleep(0.05)
    left = time.monotonic() - begun
    while running.metrics()["porcelain_http_requests_in_progress"] > 0:
        time.sleep(0.01)
    assert generator.image(type="vase", seed=1)["seed"] == 1
    after = running.metrics()
    assert grown(before, after, "porcelain_generation_dropped_total") == 24
    assert grown(before, after, "porcelain_generated_pictures_total") == 1
    # All three batches would have taken far longer than the callers' patience.
    assert grown(before, after, "porcelain_denoising_steps_total") < 20
    assert time.monotonic() - begun < left + 10


def leave_soon(url: str, body: dict[str, Any]) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(url + ROUTE, json=body, timeout=httpx.Timeout(30, read=0.5))


def test_a_caller_that_left_does_not_harm_its_batch(generator: GeneratorServer) -> None:
    expected = generator.image(type="vase", seed=21, steps=50)
    with ThreadPoolExecutor(2) as pool:
        pool.submit(leave_soon, generator.running.url, {**LONG, "count": 4})
        time.sleep(0.2)
        staying = pool.submit(generator.image, type="vase", seed=21, steps=50)
        with socket.create_connection(
            ("127.0.0.1", int(generator.running.url.rpartition(":")[2]))
        ) as half:
            half.sendall(b"POST /v1/generate HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{")
        ours = decoded(base64.b64decode(staying.result()["data"]))
    assert psnr(ours, decoded(base64.b64decode(expected["data"]))) >= ALIKE


def test_health_is_answered_while_pictures_are_made(generator: GeneratorServer) -> None:
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(generator.generate, steps=50, count=8)
        slowest = 0.0
        while not work.done():
            begun = time.monotonic()
            assert httpx.get(generator.running.url + "/livez", timeout=10).status_code == 200
            slowest = max(slowest, time.monotonic() - begun)
        assert work.result().status_code == 200
    assert slowest < 2.0


def test_metrics_tell_what_was_made(generator: GeneratorServer) -> None:
    before = generator.running.metrics()
    generator.generate(type="vase", count=3)
    generator.generate(type="vse")
    for path in ("/wp-login.php", "/v1/generate?type=vase"):
        httpx.get(generator.running.url + path)
    after = generator.running.metrics()
    assert grown(before, after, "porcelain_generated_pictures_total") == 3
    assert grown(before, after, "porcelain_generation_seconds_per_picture_count") == 3
    assert grown(before, after, "porcelain_generation_seconds_per_picture_sum") > 0
    assert grown(before, after, "porcelain_generation_queue_seconds_count") == 3
    assert grown(before, after, "porcelain_denoising_steps_total") == 5  # PNDM takes one more
    assert (
        grown(before, after, f'porcelain_http_requests_total{{route="{ROUTE}",status="422"}}') == 1
    )
    assert after["porcelain_generation_waiting"] == 0
    assert after["porcelain_http_requests_in_progress"] == 0
    assert after["porcelain_generation_failures_total"] == 0
    # Nothing that a caller writes makes a series.
    series = len(after)
    for i in range(20):
        httpx.get(generator.running.url + f"/scan/{i}")
        generator.generate(seed=i, steps=1)
    assert len(generator.running.metrics()) == series


def test_one_worker_holds_the_pipeline_and_the_supervisor_stays_light(
    generator: GeneratorServer,
) -> None:
    (worker,) = generator.running.workers()
    libraries = {
        pid: Path(f"/proc/{pid}/maps").read_text()
        for pid in (worker.pid, generator.running.process.pid)
    }
    assert "libtorch" in libraries[worker.pid]
    assert "libtorch" not in libraries[generator.running.process.pid]


@pytest.fixture(scope="module")
def strict(
    generator_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GeneratorServer]:
    """A server with small limits, behind a key."""
    folder = tmp_path_factory.mktemp("strict")
    (folder / "keys").write_text(f"museum sha256:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
    server = start_server(
        generator_bundle,
        folder / "log",
        kind="generator",
        THREADS="1",
        MAX_BATCH="2",
        MAX_WAITING="3",
        MAX_STEPS="400",
        MAX_GUIDANCE_SCALE="5",
        MAX_BODY_BYTES="1024",
        UPLOAD_SECONDS="1",
        KEY_FILE=str(folder / "keys"),
    )
    server.client.headers["Authorization"] = f"Bearer {KEY}"
    yield GeneratorServer(server)
    server.stop()
    check_log(folder / "log")


def test_keys_are_needed_for_the_model_and_not_for_health(strict: GeneratorServer) -> None:
    url = strict.running.url
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        for method, path in (("GET", "/v1/model"), ("POST", ROUTE)):
            response = httpx.request(method, url + path, headers=headers)
            strict.running.check(method, path, response)
            assert response.status_code == 401
    for path in ("/livez", "/readyz", "/metrics", "/openapi.json"):
        assert httpx.get(url + path).status_code == 200
    assert strict.running.document["components"]["securitySchemes"]


def test_small_limits_hold(strict: GeneratorServer) -> None:
    too_many = strict.generate(count=4)
    assert too_many.status_code == 422
    assert "at most 3" in too_many.json()["detail"]
    assert strict.generate(guidance_scale=5.5).status_code == 422
    assert len(pictures(strict.generate(count=3, steps=1))) == 3
    assert strict.generate(type="v" * 1100).status_code == 413

    def stalled() -> Iterator[bytes]:
        yield b"{"
        time.sleep(1.5)

    headers = {"Content-Type": "application/json"}
    slow = strict.running.request("POST", ROUTE, content=stalled(), headers=headers)
    assert slow.status_code == 408


def test_a_full_queue_says_so_at_once(strict: GeneratorServer) -> None:
    with ThreadPoolExecutor(2) as pool:
        busy = pool.submit(strict.generate, **LONG, count=2)
        while strict.running.metrics()["porcelain_http_requests_in_progress"] < 1:
            time.sleep(0.01)
        time.sleep(0.2)  # its batch has begun
        waiting = pool.submit(strict.generate, count=3)
        while strict.running.metrics()["porcelain_generation_waiting"] < 3:
            time.sleep(0.01)
        begun = time.monotonic()
        refused = strict.generate()
        assert refused.status_code == 429
        assert time.monotonic() - begun < 0.5
        assert int(refused.headers["retry-after"]) >= 1
        assert busy.result().status_code == waiting.result().status_code == 200


def test_shutdown_answers_what_is_in_progress(strict: GeneratorServer) -> None:
    with ThreadPoolExecutor(2) as pool:
        work = [pool.submit(strict.generate, steps=50, count=count) for count in (2, 1)]
        while strict.running.metrics()["porcelain_http_requests_in_progress"] < 2:
            time.sleep(0.01)
        strict.running.process.terminate()
        assert [len(pictures(job.result())) for job in work] == [2, 1]
    assert strict.running.process.wait(30) == 0
