"""Both services under a real Prometheus: every query has data, and faults raise their alerts."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import numpy as np
import onnx
import onnxruntime as ort
import psutil
import pytest
from onnx import helper, numpy_helper

from monitoring.objectives import CLASSIFIER, GENERATOR
from monitoring.picture import ROWS, draw
from porcelain.bundle import CLASSIFIER_MODEL_FILE, Manifest, write_manifest
from tests import pictures
from tests.monitoring.load import Send, steadily
from tests.monitoring.prometheus import Prometheus, start_prometheus
from tests.monitoring.test_generated import PANELS, rules
from tests.services.conftest import LABELS, Server, start_server, write_colour_bundle
from tests.services.generator.conftest import generator_base, generator_bundle

__all__ = ["generator_base", "generator_bundle"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

BLUE = pictures.jpeg(pictures.scene(300, 200, "blue"))
RED = pictures.jpeg(pictures.scene(300, 200, "red"))
SLOW_SECONDS = 2 * CLASSIFIER.seconds


def classify(server: Server, data: bytes, **fields: str) -> Send:
    url = server.url + "/v1/classify"
    return lambda: httpx.post(url, files={"image": ("a.jpg", data)}, data=fields, timeout=30)


def generate(server: Server) -> Send:
    url = server.url + "/v1/generate"
    return lambda: httpx.post(url, json={"type": "bowl", "steps": 2}, timeout=30)


def address(server: Server) -> str:
    return server.url.removeprefix("http://")


def stop(server: Server) -> None:
    """Stop it, or kill it: what was broken on purpose may not stop in time."""
    with suppress(subprocess.TimeoutExpired):
        server.stop()


def crash(server: Server) -> None:
    """Kill the process that runs the model."""
    with suppress(psutil.NoSuchProcess):
        for worker in server.workers():
            if "porcelain_inference" in worker.cmdline():
                worker.kill()


def lose_worker(server: Server) -> None:
    """Kill all workers but the oldest."""
    with suppress(psutil.NoSuchProcess):
        for worker in server.workers()[1:]:
            worker.kill()


def write_slow_bundle(folder: Path) -> Path:
    """The colour bundle, with matrix products in front that take long on this machine too."""
    write_colour_bundle(folder)
    path = folder / CLASSIFIER_MODEL_FILE
    colours, side = path.read_bytes(), 2000
    while True:
        onnx.save(slowed(onnx.load_from_string(colours), side), path)
        if seconds_of(path) > SLOW_SECONDS:
            break
        side = side * 5 // 4
    old = Manifest.model_validate_json((folder / "bundle.json").read_text())
    write_manifest(
        folder,
        kind="classifier",
        name="slow",
        dataset_digest="0" * 64,
        classifier=old.classifier,
    )
    return folder


def slowed(model: onnx.ModelProto, side: int) -> onnx.ModelProto:
    """The colour model, with two products of matrices of that side that change no answer."""
    matrix = np.random.default_rng(0).standard_normal((side, side)).astype(np.float32)
    constants = {"matrix": matrix, "nothing": np.zeros((), np.float32)}
    graph = model.graph
    graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in constants.items())
    place = next(i for i, node in enumerate(graph.node) if "features" in node.output)
    node = graph.node[place]
    node.output[0] = "colour"
    slow = [
        helper.make_node("ReduceMax", ["colour"], ["largest"], keepdims=0),
        helper.make_node("Add", ["matrix", "largest"], ["moved"]),
        helper.make_node("MatMul", ["moved", "moved"], ["product"]),
        helper.make_node("MatMul", ["product", "moved"], ["again"]),
        helper.make_node("ReduceMax", ["again"], ["number"], keepdims=0),
        helper.make_node("Mul", ["number", "nothing"], ["zero"]),
        helper.make_node("Add", ["colour", "zero"], ["features"]),
    ]
    nodes = [*graph.node[: place + 1], *slow, *graph.node[place + 1 :]]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model


def seconds_of(path: Path) -> float:
    """What one picture takes on one core."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    picture = np.zeros((1, 224, 224, 3), np.uint8)
    begun = time.monotonic()
    session.run(None, {session.get_inputs()[0].name: picture})
    return time.monotonic() - begun


@pytest.fixture(scope="module")
def prometheus_server(
    prometheus: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    started = start_prometheus(prometheus, tmp_path_factory.mktemp("prometheus"))
    yield started
    started.client.close()
    started.process.terminate()
    started.process.wait(20)


@pytest.fixture(scope="module")
def servers(
    generator_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Server, Server]]:
    """A classifier as on a CPU, one with an inner service, and a generator."""
    folder = tmp_path_factory.mktemp("watched")
    bundle = write_colour_bundle(folder / "colours")
    with ExitStack() as stack:

        def start(
            of: Path, name: str, *options: str, kind: str = "classifier", **more: str
        ) -> Server:
            server = start_server(of, folder / name, *options, kind=kind, **more)
            stack.callback(stop, server)
            return server

        plain = start(bundle, "plain.log", "--workers", "2")
        inner = start(bundle, "inner.log", "--workers", "1", INFERENCE="service")
        yield plain, inner, start(generator_bundle, "log", kind="generator", THREADS="1")


def operands(expression: str) -> list[str]:
    """What an alert compares: it has no data itself while all is well."""
    absent = re.fullmatch(r"absent\((.*)\)", expression)
    if absent:
        return [absent[1]]
    parts = re.split(r" (?:and|>=|<=|==|>|<) ", expression)
    return [part for part in parts if not re.fullmatch(r"[\d.]+", part)]


def test_every_query_has_data_and_every_fault_its_alert(
    prometheus_server: Prometheus,
    servers: tuple[Server, Server, Server],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain, inner, generator = servers
    watched = {
        CLASSIFIER.job: [address(plain), address(inner)],
        GENERATOR.job: [address(generator)],
    }
    waited: dict[str, float] = {}

    def until(alert: str, meanwhile: Callable[[], None] = lambda: None) -> None:
        def fires() -> bool:
            meanwhile()
            return alert in prometheus_server.firing()

        waited[alert] = prometheus_server.wait_for(fires, f"{alert} does not fire", 240)

    prometheus_server.watch(watched)
    calm = (
        classify(plain, BLUE),
        classify(plain, BLUE),
        classify(inner, BLUE),
        generate(generator),
    )
    seldom = (classify(plain, b"no picture"), classify(plain, BLUE, explain="true"))

    # All is well: queries have data, and no alert about the services' health fires.
    with steadily(*calm), steadily(*seldom, pause=2.0):
        prometheus_server.wait_for(
            lambda: len(prometheus_server.query("job_task:porcelain_prediction_drift:psi1d")) == 4,
            "no drift is measured",
        )
        prometheus_server.wait_for(
            lambda: prometheus_server.query("sum(porcelain_predictions_total) > 1200") != [],
            "no traffic",
            300,
        )
        silent = [
            (panel.title, query)
            for panel in PANELS
            if not panel.gpu
            for query in panel.queries.values()
            if not prometheus_server.query(
                query.replace("$__rate_interval", "10s").replace("$instance", ".*")
            )
        ]
        assert silent == []
        loaded = prometheus_server.rules()
        assert len(loaded) == len(rules())
        assert {
            (rule["name"], rule["health"]) for rule in loaded if rule["health"] != "ok"
        } == set()
        for rule in loaded:
            parts = [rule["query"]] if rule["type"] == "recording" else operands(rule["query"])
            for part in parts:
                assert prometheus_server.query(part), (rule["name"], part)
        # A busy machine may really be slow, and is then said to be.
        assert prometheus_server.firing("page") <= {"PorcelainSlow"}

        # Only blue is sent, where training had a third of each colour; and the task `type` of
        # this bundle is never sure.
        until("PorcelainDrift")
        until("PorcelainAbstains")
    assert {
        one["labels"]["task"]
        for one in prometheus_server.active()
        if one["labels"]["alertname"] == "PorcelainAbstains"
    } == {"type"}
    assert set(LABELS) == {
        one["labels"]["task"]
        for one in prometheus_server.active()
        if one["labels"]["alertname"] == "PorcelainDrift"
    }

    # A flood of what is no picture is the callers' fault: it wakes nobody.
    with steadily(*[classify(plain, b"no picture")] * 3, classify(plain, RED)):
        until("PorcelainBadInput")
        assert "PorcelainErrorBudgetBurn" not in prometheus_server.firing()

    # A model that has become slow.
    with steadily(classify(plain, BLUE)):
        prometheus_server.wait_for(
            lambda: "PorcelainSlow" not in prometheus_server.firing("page"), "still slow", 180
        )
    slow = start_server(write_slow_bundle(tmp_path / "slow"), tmp_path / "log", "--workers", "1")
    try:
        prometheus_server.watch({**watched, CLASSIFIER.job: [address(slow)]})
        with steadily(classify(slow, BLUE)):
            until("PorcelainSlow")
            assert "PorcelainErrorBudgetBurn" not in prometheus_server.firing()
    finally:
        slow.stop()
    prometheus_server.watch(watched)
    prometheus_server.wait_for(
        lambda: prometheus_server.firing("page") == set(),
        "pages do not end",
        180,
    )

    ready = f'porcelain_workers_ready{{instance="{address(plain)}"}} == porcelain_workers_expected'
    prometheus_server.wait_for(lambda: prometheus_server.query(ready) != [], "not watched again")

    # A worker that dies as often as it is replaced is missed; the other one answers on.
    with steadily(classify(plain, BLUE)):
        until("PorcelainWorkerLost", lambda: lose_worker(plain))
    assert prometheus_server.firing("page") == {"PorcelainWorkerLost"}

    # The process that runs the model crashes over and over: callers wait, or get 503.
    with steadily(*[classify(inner, BLUE)] * 2):
        until("PorcelainErrorBudgetBurn", lambda: crash(inner))
    assert prometheus_server.query('porcelain_http_requests_total{status="503"} > 0')

    # The dashboards, drawn: every panel that needs no GPU has something to show.
    for kind, make in ROWS.items():
        picture = tmp_path / f"{kind}.png"
        panels = [one for group in make().values() for one in group if not one.gpu]
        url = prometheus_server.url
        assert draw(make(), url, picture, seconds=600, rate="10s") == len(panels)
        assert picture.stat().st_size > 50_000

    # The generator stops.
    generator.process.terminate()
    until("PorcelainDown")
    with capsys.disabled():
        said = ", ".join(f"{alert} {seconds:.0f}" for alert, seconds in waited.items())
        print(f"\nseconds until each alert, with an hour as a minute: {said}")
