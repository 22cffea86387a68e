"""Thumbnails of the pictures that turned, where the dataset folder is at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from porcelain.errors import ImageError
from porcelain.images import decode_image
from training.experiment.statistics.results import ChangedPicture
from training.pages.page import thumbnail_uri

_SIDE: Final = 190


def thumbnails(root: Path | None, pictures: list[ChangedPicture]) -> dict[str, str]:
    """Data URIs by file name; pictures that are gone or unreadable are left out."""
    found: dict[str, str] = {}
    if root is None:
        return found
    for picture in pictures:
        path = root / picture.file_name
        try:
            image = decode_image(path.read_bytes(), longest_side=_SIDE).pixels
        except (OSError, ImageError):
            continue
        found[picture.file_name] = thumbnail_uri(image, _SIDE)
    return found
