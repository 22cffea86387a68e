"""Coloured vessels, a classifier that reads their colour, and a generator that paints them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from porcelain.bundle import CLASSIFIER_MODEL_FILE, ClassifierInfo, write_manifest
from porcelain.dataset import Record, load_dataset, write_metadata
from porcelain.files import sha256_file, write_json
from sampling.request import OnStep, SampleRequest
from tests.sampling.tiny_pipeline import make_tiny_pipeline
from tests.services.conftest import GRID, LABELS, colour_model
from tests.training.data.folders import vessel
from tests.training.generator.bundles import make_generator_bundle
from training.data.split import make_split, read_split, write_split
from training.generator.synthesis.plan import count_records

COLOURS = ("red", "green", "blue")
COUNTS = {"red": 24, "green": 12, "blue": 6}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Pictures this small gain nothing from threads, which wait for each other on busy cores."""
    torch.set_num_threads(1)


def paint(colour: str, seed: int) -> Image.Image:
    """A vessel in light of one colour."""
    pixels = np.asarray(vessel(seed)).astype(np.float32)
    tint = np.full(3, 0.55)
    tint[COLOURS.index(colour)] = 1.15
    return Image.fromarray((pixels * tint).clip(0, 255).astype(np.uint8))


def truth(colour: str) -> dict[str, str]:
    """The labels that the classifier gives to a vessel of this colour."""
    return {task: labels[COLOURS.index(colour)] for task, labels in LABELS.items()}


class Painter:
    """A generator that does what the prompt says, save for mistakes made on purpose.

    One in five is one, as its seed says: blank, of another colour, a photograph's copy, or the
    copy of an earlier picture of its own.
    """

    def __init__(self) -> None:
        self.sampled: list[SampleRequest] = []
        self.batches: list[int] = []
        self.controls: list[np.ndarray] = []
        self.varied: list[tuple[float, np.ndarray]] = []

    def vary(
        self,
        requests: Sequence[SampleRequest],
        pictures: Sequence[np.ndarray],
        *,
        strength: float,
        steps: int,
        on_step: OnStep | None = None,
    ) -> list[np.ndarray]:
        self.varied += [(strength, picture) for picture in pictures]
        height, width = pictures[0].shape[:2]
        return self.sample(requests, steps=steps, width=width, height=height, on_step=on_step)

    def sample(
        self,
        requests: Sequence[SampleRequest],
        *,
        steps: int,
        width: int,
        height: int,
        controls: Sequence[np.ndarray] = (),
        on_step: OnStep | None = None,
    ) -> list[np.ndarray]:
        self.controls += controls
        self.batches.append(len(requests))
        self.sampled += requests
        for step in range(1, steps + 1):
            if on_step is not None:
                on_step(step, steps)
        return [self._paint(request, width, height) for request in requests]

    def _paint(self, request: SampleRequest, width: int, height: int) -> np.ndarray:
        asked = dict(zip(COLOURS, LABELS["glaze"], strict=True))
        colour = next(colour for colour, glaze in asked.items() if glaze in request.prompt)
        image = paint(colour, 10_000 + request.seed % 100_000)
        match request.seed % 20:
            case 0:
                image = Image.new("RGB", image.size, "grey")
            case 4:
                image = paint(COLOURS[(COLOURS.index(colour) + 1) % 3], request.seed % 100_000)
            case 8:
                image = paint(colour, COLOURS.index(colour))
            case 12:
                image = paint(colour, 5_000)
        return np.asarray(image.resize((width, height)))


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """42 vessels of three colours with a split; the first of each colour is to be copied."""
    root = tmp_path_factory.mktemp("photographs")
    (root / "images").mkdir()
    records = []
    for colour, count in COUNTS.items():
        for i in range(count):
            # The first is the one that the painter copies.
            seed = COLOURS.index(colour) + (0 if i == 0 else 100 * i)
            name = f"images/{colour}-{i:02d}.jpg"
            paint(colour, seed).save(root / name, quality=92)
            records.append(Record(name, truth(colour), object_id=name))
    write_metadata(root, records)
    dataset = load_dataset(root)
    write_split(root / "split.json", make_split(dataset, (0.75, 0.1, 0.15), groups=()))
    return root


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory, photographs: Path) -> Path:
    """A classifier bundle that names a picture's strongest colour."""
    folder = tmp_path_factory.mktemp("classifier") / "colours"
    folder.mkdir()
    onnx.save(colour_model(), folder / CLASSIFIER_MODEL_FILE)
    names = read_split(photographs / "split.json").names
    digests = {
        part: [sha256_file(photographs / name) for name in members]
        for part, members in names.items()
    }
    write_json(folder / "digests.json", digests)
    info = ClassifierInfo(
        labels=LABELS,
        label_counts={task: dict.fromkeys(labels, 1) for task, labels in LABELS.items()},
        input_size=224,
        resize="letterbox",
        backbone="colours",
        temperatures=dict.fromkeys(LABELS, 1.0),
        abstention_thresholds=dict.fromkeys(LABELS, 0.5),
        selective_accuracy=0.95,
        activation_grid=(GRID, GRID),
    )
    write_manifest(
        folder, kind="classifier", name="colours", dataset_digest="0" * 64, classifier=info
    )
    return folder


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random pipeline."""
    return make_tiny_pipeline(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="session")
def generator(tmp_path_factory: pytest.TempPathFactory, base: Path, photographs: Path) -> Path:
    """A generator bundle that has seen the photographs' training part."""
    dataset = load_dataset(photographs)
    split = read_split(photographs / "split.json")
    training = [r for r in dataset.records if r.file_name in split.names["train"]]
    folder = tmp_path_factory.mktemp("generator") / "tiny"
    return make_generator_bundle(folder, base, count_records(training), split)
