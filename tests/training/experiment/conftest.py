"""Photographs and synthetic pictures small enough to compare arms in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from porcelain.dataset import Record, load_dataset, write_metadata
from tests.training.classifier.conftest import COLOURS, DYNASTY, KILN, draw
from training.classifier.settings import TrainSettings
from training.experiment.preparation import Inputs, prepare
from training.experiment.settings import ExperimentSettings
from training.generator.synthesis.learned import Learned, write_learned

PHOTOGRAPHS = 60
LEARNED = 12


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Pictures this small gain nothing from threads, which wait for each other on busy cores."""
    torch.set_num_threads(1)


def labels_of(glaze: str, *, tall: bool) -> dict[str, str | None]:
    return {
        "dynasty": DYNASTY[glaze],
        "glaze": glaze,
        "kiln": KILN[glaze],
        "type": "vase" if tall else "bowl",
    }


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 pictures of 30 objects, two of each; vases are rare."""
    root = tmp_path_factory.mktemp("photographs")
    records = []
    for index in range(PHOTOGRAPHS):
        glaze, tall = list(COLOURS)[(index // 2) % 3], index % 10 < 2
        name = f"{index:03}.jpg"
        draw(glaze, tall, index).save(root / name, quality=92)
        labels = labels_of(glaze, tall=tall)
        if index % 7 == 0:
            labels["kiln"] = None
        records.append(Record(name, labels, object_id=f"object-{index // 2}"))
    write_metadata(root, records)
    return root


def make_synthetic(root: Path, photographs: Path, count: int = 24, start: int = 1000) -> Path:
    """Drawn vases and bowls, by a generator that has learned from the first photographs."""
    root.mkdir(parents=True)
    records = []
    for index in range(count):
        glaze, tall = list(COLOURS)[index % 3], index % 2 == 0
        name = f"{index:03}.png"
        draw(glaze, tall, start + index).save(root / name)
        records.append(Record(name, labels_of(glaze, tall=tall), synthetic=True))
    write_metadata(root, records)
    names = [record.file_name for record in load_dataset(photographs).records[:LEARNED]]
    write_learned(root, Learned(names=frozenset(names)))
    return root


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory, photographs: Path) -> Path:
    return make_synthetic(tmp_path_factory.mktemp("made") / "synthetic", photographs)


@pytest.fixture(scope="session")
def untuned(tmp_path_factory: pytest.TempPathFactory, photographs: Path) -> Path:
    root = make_synthetic(tmp_path_factory.mktemp("made") / "untuned", photographs, start=2000)
    write_learned(root, Learned())
    return root


@pytest.fixture(scope="session")
def settings() -> ExperimentSettings:
    training = TrainSettings(
        backbone="mobilenetv3_small_050",
        pretrained="none",
        epochs=2,
        batch_size=8,
        input_size=32,
        cached_size=37,
        averaging=0.9,
    )
    return ExperimentSettings(ratios=(0, 10, 20), seeds=1, folds=2, training=training)


@pytest.fixture(scope="session")
def prepared(
    tmp_path_factory: pytest.TempPathFactory,
    photographs: Path,
    synthetic: Path,
    untuned: Path,
    settings: ExperimentSettings,
) -> Path:
    """A prepared experiment that tests read and train nothing in."""
    root = tmp_path_factory.mktemp("prepared") / "experiment"
    arms = ["mix", "oversample", "untuned", "weighted", "pretrain", "routed"]
    inputs = Inputs(photographs, {"synthetic": str(synthetic), "untuned": str(untuned)})
    prepare(inputs, root, settings, arms)
    return root
