"""A run that takes seconds and still uses every part of the recipe."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from porcelain.dataset import Record, load_dataset, write_metadata
from training.data.split import Split, write_split
from training.generator.pretraining.settings import (
    AutoencoderSettings,
    DecoderSettings,
    DiffusionSettings,
    PretrainSettings,
    RuntimeSettings,
)

COLOURS = {"celadon": (110, 150, 110), "white": (235, 235, 225)}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """24 pictures, of which 16 are for training, 4 for validation and 4 for the test."""
    root = tmp_path / "photos"
    (root / "images").mkdir(parents=True)
    records = []
    for index in range(24):
        glaze, tall = list(COLOURS)[index % 2], index % 4 < 2
        rng = np.random.default_rng(index)
        pixels = np.full((48, 48, 3), 90.0)
        height, width = (34, 14) if tall else (14, 34)
        top, left = 24 - height // 2 + rng.integers(-4, 4), 24 - width // 2 + rng.integers(-4, 4)
        pixels[top : top + height, left : left + width] = COLOURS[glaze]
        # Coarse enough that no two are taken for copies.
        spots = np.kron(rng.normal(0, 12, (8, 8, 1)), np.ones((6, 6, 1)))
        pixels = (pixels + spots).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{index:02}.png")
        labels = {
            "dynasty": "song",
            "glaze": glaze,
            "kiln": None,
            "type": "vase" if tall else "bowl",
        }
        records.append(
            Record(f"images/{index:02}.png", labels, f"o{index}", extra={"license": "CC0-1.0"})
        )
    write_metadata(root, records)
    names = [record.file_name for record in records]
    parts = {"train": names[:16], "validation": names[16:20], "test": names[20:]}
    digest = load_dataset(root).digest()
    split = Split({k: tuple(v) for k, v in parts.items()}, 0, (0.66, 0.17, 0.17), digest)
    write_split(root / "split.json", split)
    return root


@pytest.fixture
def settings() -> PretrainSettings:
    """32 pixels, four levels of eight channels."""
    return PretrainSettings(
        size=32,
        autoencoder=AutoencoderSettings(
            steps=8,
            batch_size=4,
            channels=(8, 8, 16),
            groups=4,
            latent_channels=4,
            perceptual="none",
            warmup_steps=2,
        ),
        decoder=DecoderSettings(
            steps=6, warmup_steps=2, adversarial_steps=3, discriminator_width=4
        ),
        diffusion=DiffusionSettings(
            steps=8,
            batch_size=4,
            channels=(16, 32),
            groups=8,
            heads=2,
            text_width=16,
            text_layers=1,
            warmup_steps=2,
        ),
        runtime=RuntimeSettings(precision="fp32"),
    )
