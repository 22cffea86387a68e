"""The one place where a picture becomes the model's input."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from porcelain.images import DEFAULT_LIMITS, DecodedImage, DecodeLimits, decode_image

ResizeRule = Literal["letterbox", "squash"]
"""`letterbox` keeps proportions and continues the picture's border colours to a square;
`squash` stretches the picture to a square."""

DEFAULT_SIZE = 224

Pixels = npt.NDArray[np.uint8]


def prepare(image: Image.Image, size: int = DEFAULT_SIZE, rule: ResizeRule = "letterbox") -> Pixels:
    """Resize an upright RGB picture to a square.

    Args:
        image: Mode RGB, any size.
        size: Side of the square in pixels.
        rule: How a picture that is not square fills it.

    Returns:
        uint8 array [size, size, 3], RGB.
    """
    if rule == "squash":
        return np.asarray(_resize(image, size, size))
    left, top, right, bottom = content_box(image.size, size, rule)
    resized = np.asarray(_resize(image, right - left, bottom - top))
    if resized.shape[:2] == (size, size):
        return resized
    margins = ((top, size - bottom), (left, size - right), (0, 0))
    return np.pad(resized, margins, mode="edge")


def content_box(
    shape: tuple[int, int], size: int = DEFAULT_SIZE, rule: ResizeRule = "letterbox"
) -> tuple[int, int, int, int]:
    """Where in the model's square the picture itself lies.

    Args:
        shape: Width and height of the upright picture.
        size: Side of the square.
        rule: How the picture fills it.

    Returns:
        Left, top, right and bottom in pixels of the square; right and bottom are outside.
    """
    if rule == "squash":
        return 0, 0, size, size
    scale = size / max(shape)
    width, height = (min(size, max(1, round(side * scale))) for side in shape)
    left, top = (size - width) // 2, (size - height) // 2
    return left, top, left + width, top + height


def _resize(image: Image.Image, width: int, height: int) -> Image.Image:
    if image.size == (width, height):
        return image
    # reducing_gap first shrinks by whole factors, which is several times faster on large
    # pictures and differs by less than a grey level.
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)


def decode_and_prepare(
    data: bytes,
    size: int = DEFAULT_SIZE,
    rule: ResizeRule = "letterbox",
    limits: DecodeLimits = DEFAULT_LIMITS,
) -> tuple[Pixels, DecodedImage]:
    """Decode an encoded picture at the scale the model needs, and prepare it.

    Returns:
        The model's input, uint8 [size, size, 3], and the decoded picture it was made from.

    Raises:
        ImageError: As `porcelain.images.decode_image`.
    """
    decoded = decode_image(data, longest_side=size, limits=limits)
    return prepare(decoded.pixels, size, rule), decoded


def load_and_prepare(
    path: Path, size: int = DEFAULT_SIZE, rule: ResizeRule = "letterbox"
) -> Pixels:
    """Read a picture file and prepare it: uint8 [size, size, 3].

    Raises:
        ImageError: As `porcelain.images.decode_image`.
    """
    return decode_and_prepare(path.read_bytes(), size, rule)[0]
