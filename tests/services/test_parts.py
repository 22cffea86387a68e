"""The small parts that the services share, each on its own."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from porcelain.bundle import load_bundle
from porcelain.cores import available_cores
from porcelain.errors import UserError
from porcelain.predictor import Predictor
from services.classifier.packing import pack, unpack, width
from services.classifier.settings import ClassifierSettings
from services.logs import JsonFormatter
from services.settings import load_settings


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
