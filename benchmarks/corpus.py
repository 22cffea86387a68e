"""JPEGs of mixed size to send: made from photographs at hand, or from synthetic textures."""

from __future__ import annotations

import argparse
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SIDES = {"original": 0, "1024 px": 1024, "2048 px": 2048, "12 megapixel": 4000}
SHARES = {"original": 0.50, "1024 px": 0.30, "2048 px": 0.15, "12 megapixel": 0.05}
ORIGINALS = {"original": 1.0}
QUALITY = 90
SYNTHETIC_SIDE = 512


@dataclass(frozen=True)
class Corpus:
    """What is sent, and how it is mixed."""

    pictures: list[bytes]
    description: str


def add_input_options(parser: argparse.ArgumentParser) -> None:
    """The options that say which bundle and which pictures to measure with."""
    parser.add_argument("--bundle", type=Path, help="classifier bundle; default: random weights")
    parser.add_argument("--backbone", default="mobilenetv3_large_100", help="for random weights")
    parser.add_argument(
        "--members", type=int, default=1, help="backbones that answer together, likewise"
    )
    parser.add_argument("--pictures", type=Path, help="folder of JPEGs; default: textures")
    parser.add_argument(
        "--originals", action="store_true", help="take the pictures as they are, not mixed sizes"
    )


def make_corpus(
    folder: Path | None, count: int, shares: dict[str, float] = SHARES, seed: int = 0
) -> Corpus:
    """Make `count` JPEGs of mixed size.

    Args:
        folder: Photographs to start from (JPEG, any depth); None makes textures.
        count: How many pictures.
        shares: The share of each size of `SIDES`.
        seed: Which photographs are taken, and in which order they are sent.
    """
    rng = np.random.default_rng(seed)
    sources = _sources(folder, count, rng)
    sizes = [name for name, share in shares.items() for _ in range(round(share * count))]
    rng.shuffle(sizes)
    pictures = [_resize(sources[i % len(sources)], SIDES[size]) for i, size in enumerate(sizes)]
    mean = sum(map(len, pictures)) / len(pictures)
    mix = ", ".join(f"{share:.0%} {name}" for name, share in shares.items())
    origin = f"photographs of {folder.name}" if folder else "synthetic textures"
    return Corpus(pictures, f"{len(pictures)} {origin}: {mix}; {mean / 1000:.0f} kB on average")


def twelve_megapixels(corpus_folder: Path | None, count: int) -> list[bytes]:
    """`count` JPEGs of 4000 x 3000 pixels, or as near as their proportions allow."""
    rng = np.random.default_rng(1)
    return [_resize(source, 4000) for source in _sources(corpus_folder, count, rng)]


def _sources(folder: Path | None, count: int, rng: np.random.Generator) -> list[bytes]:
    if folder is None:
        return [_texture(rng) for _ in range(min(count, 40))]
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    chosen = rng.choice(len(files), size=min(count, len(files)), replace=False)
    return [files[i].read_bytes() for i in chosen]


def _resize(source: bytes, side: int) -> bytes:
    if side == 0:
        return source
    image = Image.open(io.BytesIO(source)).convert("RGB")
    scale = side / max(image.size)
    shape = (round(image.width * scale), round(image.height * scale))
    return _jpeg(image.resize(shape, Image.Resampling.LANCZOS))


def _texture(rng: np.random.Generator) -> bytes:
    """Smooth noise at several scales: compresses about like a photograph."""
    height = int(SYNTHETIC_SIDE * rng.choice([0.66, 0.75, 1.0]))
    total = np.zeros((height, SYNTHETIC_SIDE, 3), dtype=np.float32)
    for cells in (4, 16, 64, 192):
        noise = rng.integers(0, 255, (cells, cells, 3), dtype=np.uint8)
        layer = Image.fromarray(noise).resize((SYNTHETIC_SIDE, height), Image.Resampling.BICUBIC)
        total += np.asarray(layer, dtype=np.float32) / cells**0.5
    total *= 255.0 / total.max()
    return _jpeg(Image.fromarray(total.astype(np.uint8)))


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
