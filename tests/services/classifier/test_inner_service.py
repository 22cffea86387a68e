"""The model in an inner BentoML service, as on a GPU, here with the device set to cpu."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from services.classifier.schemas import ClassifyAnswer
from tests import pictures
from tests.services.classifier.test_running import mixed_requests, send_at_once
from tests.services.conftest import Server, start_server


@pytest.fixture(scope="module")
def inner(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One API worker and one inference process."""
    log = tmp_path_factory.mktemp("inner") / "log"
    options = {"INFERENCE": "service", "MODEL_SECONDS": "3", "MAX_WAIT_SECONDS": "30"}
    server = start_server(bundle, log, "--workers", "1", **options)
    yield server
    server.stop()


def test_it_answers_as_the_model_in_the_worker_does(server: Server, inner: Server) -> None:
    for colour in ("red", "lime", "blue"):
        data = pictures.jpeg(pictures.scene(300, 200, colour))
        ours = inner.classify(data, explain="true", similar="5").json()
        ClassifyAnswer.model_validate(ours)
        assert ours == server.classify(data, explain="true", similar="5").json()


def test_requests_that_arrive_together_get_their_own_answers(inner: Server) -> None:
    items = mixed_requests(60)
    statuses = asyncio.run(send_at_once(inner, items))
    for (_, expected), status in zip(items, statuses, strict=True):
        assert status == 200 if expected else 400 <= status < 500


def test_the_inference_process_listens_on_a_unix_socket_only(inner: Server) -> None:
    workers = inner.workers()
    assert len(workers) == 2
    inference = [worker for worker in workers if "porcelain_inference" in worker.cmdline()]
    assert len(inference) == 1
    # Circus hands every process the API's socket; this one does not accept from it.
    api = int(inner.url.rpartition(":")[2])
    for connection in inference[0].net_connections("inet"):
        assert connection.status != psutil.CONN_LISTEN or connection.laddr.port == api
    for _ in range(20):
        assert httpx.post(inner.url + "/infer").status_code == 404


def test_the_inference_service_refuses_to_run_by_itself(bundle: Path, tmp_path: Path) -> None:
    program = "import services.classifier.service as s; s.Inference()"
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={
            **os.environ,
            "PORCELAIN_BUNDLE": str(bundle),
            "PORCELAIN_INFERENCE": "service",
            "BENTOML_HOME": str(tmp_path),
            "BENTOML_RUNNER_MAP": '{"porcelain_inference": "http://0.0.0.0:3000"}',
        },
    )
    assert result.returncode != 0
    assert "must not be started by itself" in result.stderr


def test_a_lost_inference_process_is_replaced(inner: Server) -> None:
    lost = next(w for w in inner.workers() if "porcelain_inference" in w.cmdline())
    lost.kill()
    statuses: list[int] = []
    begun = time.monotonic()
    while 200 not in statuses and time.monotonic() - begun < 60:
        statuses.append(inner.classify(pictures.jpeg()).status_code)
        time.sleep(0.05)
    # What the lost process had is 503; what comes after waits for the new one, or is 503.
    assert statuses[-1] == 200
    assert set(statuses) <= {200, 503}


def test_an_inference_process_that_hangs_is_waited_for_only_so_long(inner: Server) -> None:
    hung = next(w for w in inner.workers() if "porcelain_inference" in w.cmdline())
    hung.suspend()
    try:
        begun = time.monotonic()
        answer = inner.classify(pictures.jpeg())
        seconds = time.monotonic() - begun
    finally:
        hung.resume()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert 2 < seconds < 10
    assert inner.classify(pictures.jpeg()).status_code == 200


def test_shutdown_answers_what_is_in_progress(inner: Server) -> None:
    large = pictures.encode(pictures.scene(6000, 5000), "PNG", compress_level=1)
    headers = {"Content-Type": "image/png"}
    url = inner.url + "/v1/classify"
    with ThreadPoolExecutor(4) as pool:
        work = [
            pool.submit(httpx.post, url, content=large, headers=headers, timeout=60)
            for _ in range(4)
        ]
        while inner.metrics()["porcelain_http_requests_in_progress"] < 4:
            time.sleep(0.02)
        inner.process.send_signal(signal.SIGTERM)
        assert [job.result().status_code for job in work] == [200, 200, 200, 200]
    assert inner.process.wait(20) == 0
