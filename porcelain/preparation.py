"""The one place where a picture becomes the model's input."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from porcelain.images import DEFAULT_LIMITS, DecodedImage, DecodeLimits, decode_image, read_picture

ResizeRule = Literal["letterbox-crop", "letterbox", "squash"]
"""How a picture fills the model's square. `letterbox` keeps proportions and continues the border's
colours; `letterbox-crop` does so on a square 8/7 as large and takes its centre, because objects
stand in the middle of a photograph; `squash` stretches."""

CROP = 0.875
"""Share of the longest side that `letterbox-crop` sees. At 224 pixels that is 256, so that a
512-pixel JPEG is decoded at half scale and needs no resizing."""

DEFAULT_SIZE = 224

Pixels = npt.NDArray[np.uint8]


def prepare(
    image: Image.Image, size: int = DEFAULT_SIZE, rule: ResizeRule = "letterbox-crop"
) -> Pixels:
    """Fit an upright RGB picture into the model's square.

    Args:
        image: Mode RGB, any size.
        size: Side of the square in pixels.
        rule: How a picture fills it.

    Returns:
        uint8 array [size, size, 3], RGB.
    """
    left, top, right, bottom = _placement(image.size, size, rule)
    resized = np.asarray(_resize(image, right - left, bottom - top))
    seen = resized[max(0, -top) : size - top, max(0, -left) : size - left]
    if seen.shape[:2] == (size, size):
        return np.ascontiguousarray(seen)
    left, top = max(0, left), max(0, top)
    margins = ((top, size - top - seen.shape[0]), (left, size - left - seen.shape[1]), (0, 0))
    return np.pad(seen, margins, mode="edge")


def content_box(
    shape: tuple[int, int], size: int = DEFAULT_SIZE, rule: ResizeRule = "letterbox-crop"
) -> tuple[int, int, int, int]:
    """Where in the model's square the picture itself lies.

    Args:
        shape: Width and height of the upright picture.
        size: Side of the square.
        rule: How a picture fills it.

    Returns:
        Left, top, right and bottom in pixels of the square; right and bottom are outside.
    """
    left, top, right, bottom = _placement(shape, size, rule)
    return max(0, left), max(0, top), min(size, right), min(size, bottom)


def _placement(shape: tuple[int, int], size: int, rule: ResizeRule) -> tuple[int, int, int, int]:
    """As `content_box`, but with what lies beyond the square."""
    if rule == "squash":
        return 0, 0, size, size
    longest = _longest_side(size, rule)
    scale = longest / max(shape)
    width, height = (min(longest, max(1, round(side * scale))) for side in shape)
    left, top = (size - width) // 2, (size - height) // 2
    return left, top, left + width, top + height


def _longest_side(size: int, rule: ResizeRule) -> int:
    """The longest side in pixels to which a picture is brought."""
    return round(size / CROP) if rule == "letterbox-crop" else size


def _resize(image: Image.Image, width: int, height: int) -> Image.Image:
    if image.size == (width, height):
        return image
    # reducing_gap first shrinks by whole factors, which is several times faster on large
    # pictures and differs by less than a grey level.
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)


def decode_and_prepare(
    data: bytes,
    size: int = DEFAULT_SIZE,
    rule: ResizeRule = "letterbox-crop",
    limits: DecodeLimits = DEFAULT_LIMITS,
) -> tuple[Pixels, DecodedImage]:
    """Decode an encoded picture at the scale the model needs, and prepare it.

    Returns:
        The model's input, uint8 [size, size, 3], and the decoded picture it was made from.

    Raises:
        ImageError: As `porcelain.images.decode_image`.
    """
    decoded = decode_image(data, longest_side=_longest_side(size, rule), limits=limits)
    return prepare(decoded.pixels, size, rule), decoded


def load_and_prepare(
    path: Path, size: int = DEFAULT_SIZE, rule: ResizeRule = "letterbox-crop"
) -> Pixels:
    """Read a picture file and prepare it: uint8 [size, size, 3].

    Raises:
        ImageError: As `porcelain.images.decode_image`.
    """
    return decode_and_prepare(read_picture(path), size, rule)[0]
