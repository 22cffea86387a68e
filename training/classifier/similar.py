"""What a bundle keeps to find training pictures that are like another: see `porcelain.similar`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final, Literal

from porcelain.dataset import Dataset
from porcelain.files import write_bytes
from porcelain.images import decode_image
from porcelain.similar import encode_index, may_be_shared
from training.classifier.features import Features

SimilarKept = Literal["none", "names", "thumbnails"]
"""What of each training picture: nothing, its row of `metadata.csv`, also a small copy where its
licence lets anyone share it."""

THUMBNAIL: Final = 160  # longest side in pixels


def write_index(folder: Path, features: Features, dataset: Dataset, kept: SimilarKept) -> str:
    """Write the index of the pictures that the served model has learned from.

    Args:
        folder: The bundle's.
        features: By the served model, with their rows.
        dataset: Whose pictures they are.
        kept: What of them goes into the bundle.

    Returns:
        What was kept, for the person who asked for it.
    """
    if kept == "none":
        return "The bundle keeps no index of its training pictures."
    records = features.records
    thumbnails = {}
    if kept == "thumbnails":
        shared = {i: record for i, record in enumerate(records) if may_be_shared(record)}
        thumbnails = {i: _thumbnail(dataset.path(record)) for i, record in shared.items()}
    for name, data in encode_index(features.served, records, thumbnails).items():
        write_bytes(folder / name, data)
    said = f"The bundle keeps features, names and labels of {len(records)} training pictures"
    if kept == "names":
        return said + ", and none of the pictures."
    return said + (
        f", and small copies of the {len(thumbnails)} whose column license lets anyone share them."
    )


def _thumbnail(path: Path) -> bytes:
    """A small JPEG, upright, without the file's metadata."""
    image = decode_image(path.read_bytes(), longest_side=THUMBNAIL).pixels
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=80)
    return content.getvalue()
