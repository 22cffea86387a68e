"""A bundle whose right answers are known, and real servers that serve it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

from porcelain.bundle import CLASSIFIER_MODEL_FILE, ClassifierInfo, load_bundle, write_manifest

LABELS = {
    "dynasty": ["red", "green", "blue"],
    "glaze": ["rubescent", "verdant", "azure"],
    "kiln": ["kiln_red", "kiln_green", "kiln_blue"],
    "type": ["type_red", "type_green", "type_blue"],
}
SHARPNESS = 12.0
GRID = 7


def colour_model() -> onnx.ModelProto:
    """A graph with a classifier's inputs and outputs that names a picture's strongest colour.

    It averages the picture over 7 x 7 cells; the features are the mean colour, the logits a
    multiple of them, and each cell's contribution is its own red minus its green and blue.
    """
    tasks = list(LABELS)
    mix = -np.ones((len(tasks), 3, 1, 1), dtype=np.float32)
    mix[:, 0] = 1.0
    constants = {
        "scale": np.array(1 / 255, dtype=np.float32),
        "sharpness": np.array(SHARPNESS, dtype=np.float32),
        "mix": mix,
        "plane": np.array([2, 3], dtype=np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["numbers"], ["channels"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["channels", "scale"], ["scaled"]),
        helper.make_node(
            "AveragePool", ["scaled"], ["cells"], kernel_shape=[32, 32], strides=[32, 32]
        ),
        helper.make_node("ReduceMean", ["cells", "plane"], ["features"], keepdims=0),
        helper.make_node("Mul", ["features", "sharpness"], ["logits"]),
        helper.make_node("Conv", ["cells", "mix"], ["activation"]),
        *(helper.make_node("Softmax", ["logits"], [task], axis=1) for task in tasks),
    ]
    shapes = {
        **{task: ["batch", 3] for task in tasks},
        "features": ["batch", 3],
        "activation": ["batch", len(tasks), GRID, GRID],
    }
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 224, 224, 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in shapes.items()
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier bundle that answers red, green or blue."""
    folder = tmp_path_factory.mktemp("bundle") / "colours"
    folder.mkdir()
    onnx.save(colour_model(), folder / CLASSIFIER_MODEL_FILE)
    info = ClassifierInfo(
        labels=LABELS,
        label_counts={task: dict.fromkeys(labels, 1) for task, labels in LABELS.items()},
        input_size=224,
        resize="letterbox",
        backbone="colours",
        temperatures=dict.fromkeys(LABELS, 1.0),
        abstention_thresholds={**dict.fromkeys(LABELS, 0.5), "type": 1.0},
        selective_accuracy=0.95,
        activation_grid=(GRID, GRID),
    )
    write_manifest(
        folder, kind="classifier", name="colours", dataset_digest="0" * 64, classifier=info
    )
    load_bundle(folder, "classifier")
    return folder


@dataclass
class Server:
    """A running `porcelain serve classifier`; every answer is held against its own document."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path
    seconds_to_ready: float = 0.0
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60))
    document: dict[str, Any] = field(default_factory=dict)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        response = self.client.request(method, self.url + path, **options)
        self.check(method, path, response)
        return response

    def check(self, method: str, path: str, response: httpx.Response) -> None:
        """Hold an answer against what holds for all answers."""
        assert response.headers["x-request-id"]
        operations = self.document["paths"].get(path.partition("?")[0])
        if operations is None:
            assert response.status_code == 404
        elif method.lower() in operations:
            assert str(response.status_code) in operations[method.lower()]["responses"]
        elif method != "HEAD":
            assert response.status_code == 405
        if response.status_code >= 400 and method != "HEAD":
            assert response.headers["content-type"] == "application/problem+json"
            problem = response.json()
            assert problem["status"] == response.status_code
            assert problem["detail"].endswith(".")
            assert problem["request_id"] == response.headers["x-request-id"]
            assert "Traceback" not in response.text

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def classify(self, data: bytes, name: str = "vase.jpg", **fields: str) -> httpx.Response:
        files = {"image": (name, data, "image/jpeg")}
        return self.request("POST", "/v1/classify", files=files, data=fields)

    def workers(self) -> list[psutil.Process]:
        """The processes that answer, oldest first."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if "_bentoml_impl.worker" in " ".join(child.cmdline())]

    def metrics(self) -> dict[str, float]:
        """Series to value."""
        lines = self.get("/metrics").text.splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {series: float(value) for series, value in pairs}

    def stop(self) -> int:
        """Ask it to stop and wait."""
        self.client.close()
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start_server(bundle: Path, log: Path, *options: str, **environment: str) -> Server:
    """Start a server and wait until it is ready."""
    port = free_port()
    command = [sys.executable, "-m", "porcelain.cli.main", "serve", "classifier"]
    command += ["--bundle", str(bundle), "--port", str(port), *options]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **{f"PORCELAIN_{k}": v for k, v in environment.items()}},
        )
    server = Server(process, f"http://127.0.0.1:{port}", log)
    begun = time.monotonic()
    while time.monotonic() - begun < 60:
        assert process.poll() is None, log.read_text()
        try:
            if server.client.get(server.url + "/readyz", timeout=2).status_code == 200:
                break
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    else:
        server.stop()
        raise AssertionError("not ready: " + log.read_text())
    server.seconds_to_ready = time.monotonic() - begun
    server.document = server.client.get(server.url + "/openapi.json").json()
    return server


@pytest.fixture(scope="session")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two workers and the default limits."""
    log = tmp_path_factory.mktemp("server") / "log"
    running = start_server(bundle, log, "--workers", "2")
    yield running
    running.stop()
    errors = [line for line in log.read_text().splitlines() if is_error(line)]
    assert not errors


def is_error(line: str) -> bool:
    try:
        return bool(json.loads(line)["level"] == "error")
    except ValueError:
        return "Traceback" in line
