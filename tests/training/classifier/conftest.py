"""A dataset small enough to train on in seconds, with labels that can be seen in the pictures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from porcelain.dataset import Record, write_metadata
from training.classifier.pipeline import Reporter, fit
from training.classifier.records import EpochRecord
from training.classifier.settings import TrainSettings

COLOURS = {"celadon": (110, 150, 110), "white": (235, 235, 225), "blue_and_white": (60, 80, 170)}
KILN = {"celadon": "longquan", "white": "ding", "blue_and_white": "jingdezhen"}
DYNASTY = {"celadon": "song", "white": "song", "blue_and_white": "ming"}


def draw(glaze: str, tall: bool, seed: int) -> Image.Image:
    """A vessel in silhouette on grey: tall for vases, wide for bowls."""
    rng = np.random.default_rng(seed)
    pixels = np.full((96, 128, 3), 128.0) + rng.normal(0, 6, (96, 128, 3))
    height, width = (76, 30) if tall else (30, 90)
    top, left = 48 - height // 2 + rng.integers(-6, 6), 64 - width // 2 + rng.integers(-10, 10)
    pixels[top : top + height, left : left + width] = COLOURS[glaze]
    pixels += rng.normal(0, 6, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 pictures; every tenth kiln is unknown."""
    root = tmp_path_factory.mktemp("photos")
    (root / "images").mkdir()
    records = []
    for index in range(60):
        glaze, tall = list(COLOURS)[index % 3], index % 2 == 0
        name = f"images/{index:03}.jpg"
        draw(glaze, tall, index).save(root / name, quality=92)
        labels = {
            "dynasty": DYNASTY[glaze],
            "glaze": glaze,
            "kiln": None if index % 10 == 0 else KILN[glaze],
            "type": "vase" if tall else "bowl",
        }
        records.append(Record(name, labels, object_id=f"object-{index}"))
    write_metadata(root, records)
    return root


@pytest.fixture
def settings() -> TrainSettings:
    """Fast settings that still use every part of the recipe."""
    return TrainSettings(
        backbone="mobilenetv3_small_050",
        pretrained="none",
        epochs=3,
        batch_size=16,
        input_size=64,
        cached_size=72,
        mixup=0.2,
        dropout=0.2,
    )


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Pictures this small gain nothing from threads, which wait for each other on busy cores."""
    torch.set_num_threads(1)


class InterruptionError(Exception):
    """Stands for a kill between two epochs."""


def check_interruption_within_the_second_member(
    photos: Path, folder: Path, two: TrainSettings
) -> None:
    """A run of two members and two epochs, interrupted, ends as one that was not."""
    whole = fit(photos, folder / "whole", two).trained
    heard: list[int] = []

    def stop(record: EpochRecord) -> None:
        heard.append(record.epoch)
        if heard == [1, 2, 1]:
            raise InterruptionError

    with pytest.raises(InterruptionError):
        fit(photos, folder / "parts", two, reporter=Reporter(epoch=stop))
    heard.clear()
    parts = fit(photos, folder / "parts", two, reporter=Reporter(epoch=stop)).trained
    assert heard == [2]
    expected = whole.model.state_dict()
    for name, value in parts.model.state_dict().items():
        assert torch.equal(value, expected[name]), name
