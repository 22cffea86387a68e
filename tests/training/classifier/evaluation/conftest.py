"""A bundle that names a picture's strongest colour, and folders of coloured pictures."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from porcelain.bundle import (
    CLASSIFIER_MODEL_FILE,
    HELD_OUT_MODEL_FILE,
    ClassifierInfo,
    write_manifest,
)
from porcelain.dataset import Record, write_metadata
from porcelain.domain import DOMAIN_FILE, encode_domain, fit_domain
from porcelain.files import sha256_file, write_json
from tests.services.conftest import GRID, LABELS, colour_model

COLOURS = {"red": (210, 60, 50), "green": (50, 190, 70), "blue": (40, 70, 220)}
TASKS = tuple(LABELS)


def truth(colour: str) -> dict[str, str]:
    """The labels that the bundle gives to a picture of `colour`."""
    index = list(COLOURS).index(colour)
    return {task: labels[index] for task, labels in LABELS.items()}


def draw(path: Path, colour: str, number: int) -> None:
    """A picture of one colour; `number` makes its bytes its own."""
    image = Image.new("RGB", (90, 60), COLOURS[colour])
    image.paste((number, number, number), (0, 0, 4, 4))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


class Photographs:
    """A dataset folder that a test fills row by row."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.records: list[Record] = []

    def add(self, colour: str, object_id: str | None = None, synthetic: bool = False, **labels):
        name = f"images/{len(self.records):03d}.png"
        draw(self.root / name, colour, len(self.records))
        self.records.append(Record(name, {**truth(colour), **labels}, object_id, synthetic))
        write_metadata(self.root, self.records)
        return self.root / name


@pytest.fixture
def photographs(tmp_path):
    """Thirty pictures, ten a colour, all labelled as the bundle will answer."""
    folder = Photographs(tmp_path / "photographs")
    for _ in range(10):
        for colour in COLOURS:
            folder.add(colour)
    return folder


@pytest.fixture
def make_bundle(tmp_path):
    """Write the bundle, with digests of the pictures it is to know and perhaps a held-out graph."""

    def make(parts=None, held_out=None, name="colours", knowing=None):
        folder = tmp_path / name
        shutil.rmtree(folder, ignore_errors=True)
        (folder / HELD_OUT_MODEL_FILE).parent.mkdir(parents=True)
        onnx.save(colour_model(), folder / CLASSIFIER_MODEL_FILE)
        if held_out is not None:
            onnx.save(held_out, folder / HELD_OUT_MODEL_FILE)
        if parts is not None:
            digests = {part: [sha256_file(path) for path in paths] for part, paths in parts.items()}
            write_json(folder / "digests.json", digests)
        info = ClassifierInfo(
            labels=LABELS,
            label_counts={task: dict.fromkeys(labels, 1) for task, labels in LABELS.items()},
            input_size=224,
            resize="letterbox",
            backbone="colours",
            temperatures=dict.fromkeys(LABELS, 1.5),
            abstention_thresholds=dict.fromkeys(LABELS, 0.5),
            selective_accuracy=0.95,
            activation_grid=(GRID, GRID),
            **(knowing or {}),
        )
        if knowing is not None:  # the features are mean colours: it has learned from reds
            domain = encode_domain(fit_domain(np.array([[0.8, 0.2, 0.2]] * 5)))
            for graph in (CLASSIFIER_MODEL_FILE, *([HELD_OUT_MODEL_FILE] if held_out else [])):
                (folder / graph).with_name(DOMAIN_FILE).write_bytes(domain)
        write_manifest(
            folder, kind="classifier", name="colours", dataset_digest="0" * 64, classifier=info
        )
        return folder

    return make
