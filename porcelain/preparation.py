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
    scale = size / max(image.size)
    width = min(size, max(1, round(image.width * scale)))
    height = min(size, max(1, round(image.height * scale)))
    resized = np.asarray(_resize(image, width, height))
    if width == height == size:
        return resized
    top, left = (size - height) // 2, (size - width) // 2
    margins = ((top, size - height - top), (left, size - width - left), (0, 0))
    return np.pad(resized, margins, mode="edge")


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
