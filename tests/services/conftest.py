"""A bundle whose right answers are known, and real servers that serve it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from porcelain.bundle import CLASSIFIER_MODEL_FILE, ClassifierInfo, load_bundle, write_manifest
from porcelain.cli.main import main
from porcelain.dataset import Record
from porcelain.domain import DOMAIN_FILE, encode_domain, fit_domain
from porcelain.label_prior import Combination, KnownFacts
from porcelain.similar import encode_index
from tests.pictures import jpeg, scene
from tests.services.servers import Server, check_log, start_server

__all__ = ["LABELS", "Server", "start_server"]

LABELS = {
    "dynasty": ["red", "green", "blue"],
    "glaze": ["rubescent", "verdant", "azure"],
    "kiln": ["kiln_red", "kiln_green", "kiln_blue"],
    "type": ["type_red", "type_green", "type_blue"],
}
COLOURS_KNOWN = {"dynasty": "red", "glaze": "rubescent", "kiln": None, "type": "type_red"}
SHARPNESS = 12.0
GRID = 7

FACTS = KnownFacts(
    # Each colour's labels belong together, but for a glaze that goes with two dynasties.
    combinations=[
        *(
            Combination(labels={task: labels[i] for task, labels in LABELS.items()}, count=20)
            for i in range(3)
        ),
        Combination(labels={"dynasty": "blue", "glaze": "rubescent"}, count=20),
    ],
    strengths={
        task: dict.fromkeys((other for other in LABELS if other != task), 1.0) for task in LABELS
    },
)


def colour_model() -> onnx.ModelProto:
    """A graph with a classifier's inputs and outputs that names a picture's strongest colour.

    The features are the picture's mean colour, the logits a multiple of them.
    """
    tasks = list(LABELS)
    constants = {
        "scale": np.array(1 / 255, dtype=np.float32),
        "sharpness": np.array(SHARPNESS, dtype=np.float32),
        "plane": np.array([1, 2], dtype=np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["numbers", "scale"], ["scaled"]),
        helper.make_node("ReduceMean", ["scaled", "plane"], ["features"], keepdims=0),
        helper.make_node("Mul", ["features", "sharpness"], ["logits"]),
        *(helper.make_node("Softmax", ["logits"], [task], axis=1) for task in tasks),
    ]
    shapes = {**{task: ["batch", 3] for task in tasks}, "features": ["batch", 3]}
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


def write_colour_bundle(folder: Path, known_facts: KnownFacts | None = FACTS) -> Path:
    """Write a classifier bundle that answers red, green or blue, and has learned from reds."""
    folder.mkdir()
    onnx.save(colour_model(), folder / CLASSIFIER_MODEL_FILE)
    reds = np.array([[0.8, 0.2, 0.2]]) + np.random.default_rng(0).normal(0, 0.02, (40, 3))
    (folder / DOMAIN_FILE).write_bytes(encode_domain(fit_domain(reds)))
    learned = [Record(f"images/{i}.jpg", COLOURS_KNOWN, f"pot {i // 2}") for i in range(40)]
    copies = dict.fromkeys((4, 5), jpeg(scene()))
    for name, content in encode_index(reds, learned, copies).items():
        (folder / name).write_bytes(content)
    info = ClassifierInfo(
        labels=LABELS,
        label_counts={task: dict.fromkeys(labels, 1) for task, labels in LABELS.items()},
        input_size=224,
        resize="letterbox",
        backbone="colours",
        temperatures=dict.fromkeys(LABELS, 1.0),
        abstention_thresholds={**dict.fromkeys(LABELS, 0.5), "type": 1.0},
        selective_accuracy=0.95,
        selective_confidence=0.9,
        abstention_caveats={"type": "Too few validation pictures."},
        activation_grid=(GRID, GRID),
        in_domain_threshold=0.95,
        # Of most labels it is sure; of `type_blue` it never was on calibration pictures.
        conformity={
            task: {label: [0.0] * 50 + [0.4] * 50 for label in labels}
            | ({"type_blue": [0.99999] * 10} if task == "type" else {})
            for task, labels in LABELS.items()
        },
        known_facts=known_facts,
    )
    write_manifest(
        folder, kind="classifier", name="colours", dataset_digest="0" * 64, classifier=info
    )
    load_bundle(folder, "classifier")
    return folder


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier bundle that answers red, green or blue."""
    return write_colour_bundle(tmp_path_factory.mktemp("bundle") / "colours")


@pytest.fixture(scope="session")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two workers and, but for patience with a busy machine, the default limits."""
    log = tmp_path_factory.mktemp("server") / "log"
    # Tests send bursts from a busy machine; test_admission.py and the benchmarks hold the default.
    running = start_server(bundle, log, "--workers", "2", MAX_WAIT_SECONDS="60")
    yield running
    running.stop()
    check_log(log)


@pytest.fixture
def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Run `porcelain serve KIND` with a mistake; returns the one line that it says."""

    def run(kind: str, *options: str, **environment: str) -> str:
        with monkeypatch.context() as patch:
            patch.setattr(os, "environ", {**os.environ, **environment})
            patch.setattr(sys, "argv", ["porcelain", "serve", kind, *options])
            with pytest.raises(SystemExit) as ended:
                main()
        assert ended.value.code == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    return run
