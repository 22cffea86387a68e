"""Why the model answered so: a map of what its answer rests on, over the picture, as a PNG."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from porcelain.preparation import Pixels, ResizeRule, content_box

LARGEST_OPACITY = 0.65
SIDE = 448
"""Longest side of the PNG in pixels: twice the model's input, enough to see rim and foot."""

# Nine points of "inferno" (N. Smith and S. van der Walt, CC0): lightness rises evenly from black
# to pale yellow, also for colour-blind eyes and in greyscale print.
_COLOURS = (
    (0, 0, 4),
    (31, 12, 72),
    (85, 15, 109),
    (136, 34, 106),
    (186, 54, 85),
    (227, 89, 51),
    (249, 140, 10),
    (249, 201, 50),
    (252, 255, 164),
)


@cache
def _colour_table() -> npt.NDArray[np.float32]:
    """float32 [256, 3], 0 to 255."""
    points = np.asarray(_COLOURS, dtype=np.float32)
    places = np.linspace(0, 255, len(points))
    channels = [np.interp(np.arange(256), places, points[:, c]) for c in range(3)]
    return np.stack(channels, axis=1).astype(np.float32)


def heat_map(activation: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.float32]:
    """Upsample a map of evidence smoothly to the model's square.

    Args:
        activation: Each cell's contribution to the class, [h, w]; what speaks against it is
            negative and shown as nothing.
        size: Side of the square.

    Returns:
        float32 [size, size] from 0 to 1; all 0 where nothing speaks for the class.
    """
    cells = np.maximum(np.nan_to_num(activation.astype(np.float32)), 0.0)
    smooth = Image.fromarray(cells).resize((size, size), Image.Resampling.BICUBIC)
    heat = np.maximum(np.asarray(smooth), 0.0)
    largest = float(heat.max())
    return heat / largest if largest > 0.0 else np.zeros_like(heat)


def heat_map_png(
    pixels: Pixels,
    activation: npt.NDArray[np.float32],
    shape: tuple[int, int],
    rule: ResizeRule = "letterbox-crop",
) -> bytes:
    """Lay the map over the picture; margins that the letterbox added are cut off.

    Args:
        pixels: The model's input, uint8 [size, size, 3].
        activation: One task's map of evidence, [h, w].
        shape: Width and height of the upright picture, for its proportions.
        rule: How the picture was brought to the square.

    Returns:
        A PNG of the part that the model saw, in its own proportions.
    """
    size = len(pixels)
    heat = heat_map(activation, size)
    colours = _colour_table()[(heat * 255.0 + 0.5).astype(np.uint8)]
    opacity = LARGEST_OPACITY * heat[..., np.newaxis]
    blended = pixels * (1.0 - opacity) + colours * opacity
    picture = Image.fromarray((blended + 0.5).astype(np.uint8))
    left, top, right, bottom = content_box(shape, size, rule)
    seen = shape if rule == "squash" else (right - left, bottom - top)
    picture = picture.crop((left, top, right, bottom))
    scale = SIDE / max(seen)
    width, height = (max(1, round(side * scale)) for side in seen)
    picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()
