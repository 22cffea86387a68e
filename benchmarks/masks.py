"""What the faithfulness benchmark hides, and what it shows in its place."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from porcelain.preparation import Pixels

HIDDEN = 0.2
FILLS = ("mean", "blur", "grey")

Map = Literal["activation", "detail", "centre"]
Box = tuple[int, int, int, int]
FloatArray = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


def hottest_mask(cells: FloatArray, size: int, box: Box) -> Mask:
    """The hottest 20 % of the pixels in `box`, exactly.

    Args:
        cells: A map [h, w].
        size: Side of the model's square.
        box: Left, top, right and bottom of the photograph in the square.
    """
    values = np.asarray(Image.fromarray(cells).resize((size, size), Image.Resampling.BICUBIC))
    return _largest(values, box)


def moved(mask: Mask, box: Box, rng: np.random.Generator) -> Mask:
    """A mask's patches elsewhere in `box`: mirrored at random and shifted, round its edges."""
    left, top, right, bottom = box
    patches = mask[top:bottom, left:right]
    if rng.random() < 0.5:
        patches = patches[:, ::-1]
    if rng.random() < 0.5:
        patches = patches[::-1]
    shift = rng.integers(0, patches.shape)
    result = np.zeros_like(mask)
    result[top:bottom, left:right] = np.roll(patches, shift, axis=(0, 1))
    return result


def random_pixels(size: int, box: Box, rng: np.random.Generator) -> Mask:
    """20 % of the pixels in `box`, drawn one by one."""
    return _largest(rng.random((size, size), dtype=np.float32), box)


def _largest(values: FloatArray, box: Box) -> Mask:
    left, top, right, bottom = box
    inside = values[top:bottom, left:right]
    count = round(HIDDEN * inside.size)
    chosen = np.zeros(inside.size, dtype=np.bool_)
    chosen[np.argsort(-inside, axis=None, kind="stable")[:count]] = True
    mask = np.zeros(values.shape, dtype=np.bool_)
    mask[top:bottom, left:right] = chosen.reshape(inside.shape)
    return mask


def filling(pixels: Pixels, box: Box, fill: str) -> Pixels:
    """What shows where a mask hides the photograph: uint8 [size, size, 3]."""
    if fill == "blur":
        blur = ImageFilter.GaussianBlur(len(pixels) / 10)
        return np.asarray(Image.fromarray(pixels).filter(blur))
    if fill == "grey":
        return np.full_like(pixels, 127)
    left, top, right, bottom = box
    colour = pixels[top:bottom, left:right].mean(axis=(0, 1)).round().astype(np.uint8)
    return np.broadcast_to(colour, pixels.shape)


def control_map(kind: Map, pixels: Pixels) -> FloatArray:
    """A map [14, 14] that knows nothing of the model: where there is detail, or the centre."""
    if kind == "centre":
        rows, columns = np.mgrid[:14, :14] - 6.5
        return -np.hypot(rows, columns).astype(np.float32)
    blurred = filling(pixels, (0, 0, len(pixels), len(pixels)), "blur").astype(np.float32)
    lost = np.square(pixels - blurred).mean(axis=2)
    return np.asarray(Image.fromarray(lost).resize((14, 14), Image.Resampling.BOX))
