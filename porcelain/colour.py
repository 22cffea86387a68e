"""Embedded colour profiles: a photograph in Adobe RGB or ProPhoto is brought to sRGB.

Glaze is colour: read as if it were sRGB, a wide-gamut photograph looks grey.
"""

from __future__ import annotations

import io
from functools import lru_cache

from PIL import Image, ImageCms

_MODES = {"RGB", "L", "CMYK"}


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert to 8-bit sRGB; a missing, broken or unfitting profile counts as sRGB.

    Args:
        image: Mode RGB, L or CMYK.
        profile: The embedded ICC profile (ICC.1:2022), or None.
    """
    if profile and image.mode in _MODES:
        transform = _transform(profile, image.mode)
        if transform is not None:
            converted = ImageCms.applyTransform(image, transform)
            if converted is not None:
                return converted
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
