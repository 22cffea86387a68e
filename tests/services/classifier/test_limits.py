"""Limits, keys and the command line, with settings other than the defaults."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests import pictures
from tests.services.conftest import Server, start_server

KEY = "correct-horse-battery-staple"
BEARER = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def strict(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One worker with small limits, behind a key."""
    folder = tmp_path_factory.mktemp("strict")
    keys = folder / "keys"
    keys.write_text(f"# ours\n\nmuseum sha256:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
    server = start_server(
        bundle,
        folder / "log",
        "--workers",
        "1",
        MAX_CONCURRENCY="2",
        MAX_BYTES="200000",
        MAX_PIXELS="1000000",
        MAX_BATCH="3",
        MAX_BATCH_BYTES="300000",
        MAX_BUFFERED_BYTES="500000",
        MAX_TOP_K="2",
        UPLOAD_SECONDS="4",
        KEY_FILE=str(keys),
    )
    server.client.headers.update(BEARER)
    yield server
    server.stop()


def test_a_full_worker_says_so_at_once(strict: Server) -> None:
    def slow_body() -> Iterator[bytes]:
        yield b"\xff\xd8\xff"
        time.sleep(2.5)

    headers = {"Content-Type": "image/jpeg", **BEARER}
    with ThreadPoolExecutor(2) as pool:
        slow = [
            pool.submit(
                httpx.post, strict.url + "/v1/classify", content=slow_body(), headers=headers
            )
            for _ in range(2)
        ]
        while strict.metrics()["porcelain_http_requests_in_progress"] < 2:
            time.sleep(0.05)
        begun = time.monotonic()
        response = strict.classify(pictures.jpeg())
        assert response.status_code == 429
        assert int(response.headers["retry-after"]) >= 1
        assert time.monotonic() - begun < 1
        assert strict.get("/livez").status_code == 200
        assert [job.result().status_code for job in slow] == [422, 422]
    assert strict.classify(pictures.jpeg()).status_code == 200


def test_small_limits_hold(strict: Server) -> None:
    assert strict.classify(pictures.jpeg() + bytes(200_000)).status_code == 413
    large = pictures.encode(pictures.scene(1200, 1000), "PNG")
    assert strict.classify(large).status_code == 413
    assert strict.classify(pictures.jpeg(), top_k="3").status_code == 400
    files = [("images", ("a.jpg", pictures.jpeg()))] * 4
    assert strict.request("POST", "/v1/classify_batch", files=files).status_code == 413
    files = [("images", ("a.jpg", pictures.jpeg() + bytes(150_000)))] * 3
    assert strict.request("POST", "/v1/classify_batch", files=files).status_code == 413
    files = [("images", ("a.jpg", data)) for data in (pictures.jpeg(), large)]
    results = strict.request("POST", "/v1/classify_batch", files=files).json()["results"]
    assert "predictions" in results[0]
    assert results[1]["error"]["status"] == 413


def test_an_endless_body_is_cut_off(strict: Server) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 20_000_000:
            sent += 65536
            yield bytes(65536)

    headers = {"Content-Type": "image/jpeg"}
    response = strict.request("POST", "/v1/classify", content=endless(), headers=headers)
    assert response.status_code == 413


def test_a_slow_upload_is_given_up(strict: Server) -> None:
    def stalled() -> Iterator[bytes]:
        yield b"\xff\xd8\xff"
        time.sleep(4.5)

    headers = {"Content-Type": "image/jpeg"}
    response = strict.request("POST", "/v1/classify", content=stalled(), headers=headers)
    assert response.status_code == 408


def test_keys_are_needed_for_the_model_and_not_for_health(strict: Server) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}):
        response = httpx.get(strict.url + "/v1/model", headers=headers)
        strict.check("GET", "/v1/model", response)
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Bearer")
    for path in ("/livez", "/readyz", "/metrics", "/openapi.json"):
        assert httpx.get(strict.url + path).status_code == 200
    assert strict.get("/v1/model").status_code == 200
    assert strict.document["components"]["securitySchemes"]


Command = Callable[..., str]


def test_mistakes_are_one_clear_line_and_status_2(
    refused: Command, bundle: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "keys"
    plain.write_text(f"{KEY}\n")
    given = ("--bundle", str(bundle))
    assert "--bundle" in refused("classifier")
    assert "bundle.json" in refused("classifier", "--bundle", str(tmp_path))
    assert "PORCELAIN_DEVICE=tpu" in refused("classifier", *given, "--device", "tpu")
    assert "--host" in refused("classifier", *given, "--host", "somewhere")
    assert "PORCELAIN_MAX_BYTES=many" in refused("classifier", *given, PORCELAIN_MAX_BYTES="many")
    said = refused("classifier", *given, PORCELAIN_KEY_FILE=str(plain))
    assert "Line 1" in said
    assert "porcelain serve key" in said
    assert KEY not in said


def test_a_port_that_is_taken(refused: Command, bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in refused("classifier", "--bundle", str(bundle), "--port", port)
