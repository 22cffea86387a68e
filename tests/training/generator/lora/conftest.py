"""A dataset and a base small enough to fine-tune in seconds, with a common and a rare kind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from porcelain.dataset import Record, load_dataset, write_metadata
from tests.sampling.tiny_pipeline import make_tiny_pipeline
from tests.training.data.folders import encoded, labels_of, vessel
from training.data.split import make_split, write_split
from training.generator.lora.settings import LoraSettings

COMMON = labels_of("song", "celadon", "longquan", "bowl")
RARE = labels_of("ming", "blue_and_white", None, "vase")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Pictures this small gain nothing from threads, which wait for each other on busy cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 pictures, 4 of a rare kind, with a split beside them."""
    root = tmp_path_factory.mktemp("photographs")
    records = []
    for index in range(20):
        name = f"{index:02}.png"
        (root / name).write_bytes(encoded(vessel(index), "PNG"))
        labels = RARE if index % 5 == 0 else COMMON
        records.append(Record(name, dict(labels), object_id=f"object-{index}"))
    write_metadata(root, records)
    dataset = load_dataset(root)
    write_split(root / "split.json", make_split(dataset, (0.6, 0.2, 0.2), groups=[]))
    return root


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_pipeline(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def velocity_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_pipeline(tmp_path_factory.mktemp("base-2"), prediction_type="v_prediction")


@pytest.fixture
def settings(base: Path) -> LoraSettings:
    """Fast settings that still use every part of the recipe."""
    return LoraSettings(
        base=str(base),
        steps=6,
        rank=4,
        alpha=8,
        batch_size=4,
        learning_rate=1e-2,
        noise_offset=0.1,
        prompt_dropout=0.3,
        sampling_steps=2,
        guidance_scale=2.0,
        previews=0,
        mixed_precision="no",  # to be held against float32
    )
