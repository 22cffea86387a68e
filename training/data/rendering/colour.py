"""Colours of glazes and paints: parsing, drawing at random, mixing."""

import numpy as np
from numpy.random import Generator

from training.data.rendering.surface import Array


def rgb(colour: str) -> tuple[int, int, int]:
    """The three bytes of "#rrggbb"."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def pick(colours: tuple[str, ...], rng: Generator, spread: float = 0.035) -> Array:
    """Draws one of the colours, mixed a little towards another, and jitters it. sRGB 0 to 1 [3]."""
    first, second = (np.array(rgb(str(c)), np.float32) / 255 for c in rng.choice(colours, 2))
    colour = first + (second - first) * rng.uniform(0, 0.5)
    jitter = rng.normal(0, spread * 0.4, 3) + rng.normal(0, spread)
    mixed: Array = np.clip(colour + jitter, 0.01, 0.99).astype(np.float32)
    return mixed


def blend(under: Array, over: Array, cover: Array) -> Array:
    """Mixes `over` [3] or [h, w, 3] into `under` [h, w, 3] by `cover` [h, w]."""
    mixed: Array = under + (over - under) * cover[..., None]
    return mixed
