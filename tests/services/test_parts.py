"""The small parts that the services share, each on its own."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from porcelain.bundle import load_bundle
from porcelain.cores import available_cores
from porcelain.errors import UserError
from porcelain.predictor import Predictor
from services.admission import Admission
from services.asgi import Request, Response
from services.auth import BearerKeys
from services.classifier.packing import pack, unpack, width
from services.classifier.settings import ClassifierSettings
from services.logs import JsonFormatter
from services.metrics import HttpMetrics
from services.problems import Problem
from services.rate_limit import RateLimit
from services.readiness import Readiness
from services.rest import RestApp, Route
from services.settings import load_settings


def test_admission_counts_requests_and_bytes_and_gives_them_back() -> None:
    admission = Admission(max_requests=2, max_bytes=100)
    with admission.admit() as first, admission.admit():
        first.charge(60)
        with pytest.raises(Problem) as refused, admission.admit():
            pass
        assert refused.value.http_status == 429
        assert refused.value.headers["Retry-After"] == "1"
        with pytest.raises(Problem):
            first.charge(41)
        first.charge(40)
    assert (admission.requests, admission.bytes) == (0, 0)

    def fail() -> None:
        with admission.admit() as failing:
            failing.charge(10)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (admission.requests, admission.bytes) == (0, 0)


def test_ready_means_all_workers_and_stays_when_another_leaves(tmp_path: Path) -> None:
    ours = Readiness(tmp_path, workers=2)
    assert not ours.ready()
    ours.mark()
    assert ours.warm
    assert not ours.ready()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        (tmp_path / f"ready-{other.pid}").touch()
        assert ours.ready()
        other.terminate()
    assert ours.ready()
    late = Readiness(tmp_path, workers=2)
    late.mark()
    assert not late.ready()
    ours.unmark()
    assert not ours.ready()
    assert not ours.anyone()


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORCELAIN_BUNDLE", "runs/classifier")
    monkeypatch.setenv("PORCELAIN_MAX_PIXELS", "1000")
    settings = load_settings(ClassifierSettings)
    assert settings.bundle == Path("runs/classifier")
    assert settings.limits.max_pixels == 1000
    assert settings.worker_count == available_cores()
    assert not settings.inner_service
    monkeypatch.setenv("PORCELAIN_DEVICE", "cuda")
    assert load_settings(ClassifierSettings).inner_service
    monkeypatch.setenv("PORCELAIN_INFERENCE", "worker")
    assert not load_settings(ClassifierSettings).inner_service
    monkeypatch.setenv("PORCELAIN_MAX_TOP_K", "0")
    with pytest.raises(UserError, match="PORCELAIN_MAX_TOP_K=0"):
        load_settings(ClassifierSettings)
    monkeypatch.delenv("PORCELAIN_BUNDLE")
    monkeypatch.delenv("PORCELAIN_MAX_TOP_K")
    with pytest.raises(UserError, match="PORCELAIN_BUNDLE must be set"):
        load_settings(ClassifierSettings)


def test_every_setting_is_documented() -> None:
    described = (ClassifierSettings.__doc__ or "") + (ClassifierSettings.__base__.__doc__ or "")
    for name in ClassifierSettings.model_fields:
        assert f"{name}:" in described


@pytest.mark.parametrize("explained", [False, True])
def test_outputs_survive_packing(bundle: Path, explained: bool) -> None:
    predictor = Predictor(load_bundle(bundle, "classifier"))
    images = np.random.default_rng(0).integers(0, 255, (3, 224, 224, 3), dtype=np.uint8)
    outputs = predictor.run(images, activation=explained)
    packed = pack(predictor.info, outputs)
    assert packed.shape == (3, width(predictor.info, explained=explained))
    back = unpack(predictor.info, packed)
    for task in predictor.tasks:
        assert (back.probabilities[task] == outputs.probabilities[task]).all()
    if explained:
        assert back.activation is not None
        assert outputs.activation is not None
        assert (back.activation == outputs.activation).all()
    else:
        assert back.activation is None
    with pytest.raises(ValueError, match="expected rows"):
        unpack(predictor.info, packed[:, 1:])


def test_a_log_line_is_one_json_object() -> None:
    record = logging.LogRecord("porcelain", 20, "file", 1, 'said "%s"\n', ("vase",), None)
    record.fields = {"request_id": "a1", "status": 200}
    line = JsonFormatter().format(record)
    assert "\n" not in line
    entry = json.loads(line)
    assert entry["message"] == 'said "vase"\n'
    assert (entry["level"], entry["request_id"], entry["status"]) == ("info", "a1", 200)


def test_the_service_imports_no_torch(bundle: Path) -> None:
    program = (
        "import sys, services.classifier.service; "
        "print(sorted({'torch', 'timm', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PORCELAIN_BUNDLE": str(bundle)},
    )
    assert result.stdout.strip() == "[]"


async def _plain(_: Request) -> Response:
    return Response(b"here\n", "text/plain")


def test_a_worker_that_was_killed_is_dead_before_its_parent_has_taken_notice(
    tmp_path: Path,
) -> None:
    readiness = Readiness(tmp_path, workers=1)
    worker = subprocess.Popen(["sleep", "60"])
    try:
        (tmp_path / f"ready-{worker.pid}").touch()
        assert readiness.anyone()
        worker.kill()
        # WNOWAIT: dead, and for its parent to look at.
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
        assert not readiness.anyone()
    finally:
        worker.wait()


def test_refusals_are_counted_by_whose_fault_they_are() -> None:
    registry = CollectorRegistry()
    admission = Admission(max_requests=1, max_bytes=100)
    readiness = Readiness(None, 1)
    readiness.mark()
    app = RestApp(
        {"/v1/work": Route("GET", _plain, work=True, protected=True)},
        admission=admission,
        readiness=readiness,
        metrics=HttpMetrics(registry=registry),
        keys=BearerKeys(None),
        rate_limit=RateLimit(None, per_second=0.001, burst=2),
        log_requests=False,
    )

    async def ask() -> int:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return (await client.get("/v1/work")).status_code

    with admission.admit():
        assert asyncio.run(ask()) == 429  # full
    assert [asyncio.run(ask()) for _ in range(3)] == [200, 429, 429]  # over the rate
    counted = {
        reason: registry.get_sample_value("porcelain_refusals_total", {"reason": reason})
        for reason in ("full", "rate_limit")
    }
    assert counted == {"full": 1, "rate_limit": 2}
