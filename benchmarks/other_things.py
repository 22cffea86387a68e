"""Pictures of things that are not Chinese ceramics: rendered, drawn, and found in packages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude

from benchmarks import other_materials
from benchmarks.other_materials import SIZE
from training.data.rendering.render import World, render_picture
from training.data.rendering.scene import BACKDROPS

LEAST_SIDE = 96
"""Smaller pictures of packages are buttons and arrows, which nobody takes for a photograph."""

PORCELAIN_SEED = 90_000
"""Of a rendered world that no example uses: what is drawn from it, and the control."""

Picture = Image.Image


def _paper(rng: Generator, width: int, height: int) -> Picture:
    """One of the porcelain renderer's grounds, empty."""
    _, _, near, far = BACKDROPS[str(rng.choice(sorted(BACKDROPS)))]
    mix = np.linspace(1, 0, height)[:, None, None] ** 1.2
    pixels = 255 * (np.asarray(near) * (1 - mix) + np.asarray(far) * mix)
    grain = rng.normal(0, rng.uniform(1, 4), (height, width, 1))
    return Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))


def wall(rng: Generator) -> Picture:
    """A studio's empty ground, or a wall: one colour, a fall of light, grain."""
    if rng.random() < 0.5:
        return _paper(rng, SIZE, SIZE)
    ramp = np.linspace(-1, 1, SIZE)
    light = rng.normal(0, 20) * ramp[:, None] + rng.normal(0, 20) * ramp[None, :]
    grain = rng.normal(0, rng.uniform(1, 6), (SIZE, SIZE))
    base = rng.uniform(60, 240) + rng.normal(0, 10, 3)
    pixels = base + (light + grain)[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def drawn(picture: Picture, rng: Generator) -> Picture:
    """A line drawing of a picture: dark lines where it changes, on paper."""
    grey = np.asarray(picture.convert("L"), np.float64)
    lines = gaussian_gradient_magnitude(grey, float(rng.uniform(0.8, 1.4)))
    ink = np.clip(lines / np.quantile(lines, 0.97), 0, 1) ** float(rng.uniform(1, 2))
    paper = np.array([250, 247, 238.0]) - rng.uniform(0, 20)
    shade = (1 - 0.85 * gaussian_filter(ink, 0.5))[..., None]
    return Image.fromarray(np.clip(paper * shade, 0, 255).astype(np.uint8))


def drawing(rng: Generator) -> Picture:
    """A line drawing of a rendered vessel."""
    return drawn(porcelain(rng), rng)


def porcelain(rng: Generator) -> Picture:
    """Rendered porcelain: no other thing, but for a model of photographs another world."""
    return render_picture(World(PORCELAIN_SEED, SIZE), int(rng.integers(100_000)))


MADE: dict[str, Callable[[Generator], Picture]] = {
    "metal": partial(other_materials.vessel, other_materials.metal),
    "glass": partial(other_materials.vessel, other_materials.glass),
    "wood": partial(other_materials.vessel, other_materials.wood),
    "plastic": partial(other_materials.vessel, other_materials.plastic),
    "fruit": other_materials.fruit,
    "faces": other_materials.face,
    "walls": wall,
    "drawings": drawing,
}


def made(make: Callable[[Generator], Picture], count: int, seed: int) -> Iterator[Picture]:
    """`count` pictures of one kind; the same for the same seed."""
    for index in range(count):
        yield make(np.random.default_rng([seed, index]))


def found(folder: Path) -> Iterator[tuple[str, Picture]]:
    """Pictures below a folder, once per content, each with its kind: the first folder below.

    What is cut out is laid on one of the porcelain renderer's grounds.
    """
    seen = set()
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in {".png", ".jpg", ".jpeg", ".gif", ".tif"}:
            continue
        try:
            with Image.open(path) as opened:
                picture = ImageOps.exif_transpose(opened).convert("RGBA")
        except (OSError, UnidentifiedImageError, ValueError):
            continue
        content = picture.tobytes()
        if min(picture.size) < LEAST_SIDE or content in seen:
            continue
        seen.add(content)
        below = path.relative_to(folder).parts
        yield (below[0] if len(below) > 1 else folder.name), _laid(picture, len(seen))


def _laid(picture: Picture, seed: int) -> Picture:
    """A cut-out on a ground with room around it; any other picture as it is."""
    if picture.getchannel("A").getextrema()[0] > 250:
        return picture.convert("RGB")
    side = int(max(picture.size) * 1.25)
    ground = _paper(np.random.default_rng(seed), side, side)
    corner = ((side - picture.width) // 2, (side - picture.height) // 2)
    ground.paste(picture, corner, picture)
    return ground
