"""What one reading of a picture file tells: whether it decodes, its digests, its likeness."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from porcelain.dataset import Dataset
from porcelain.errors import ImageError, ImageTooLargeError
from porcelain.files import sha256_bytes
from porcelain.images import DecodedImage, decode_image, read_picture
from porcelain.verification import examine
from porcelain.watermark import detect_watermark
from training.data.alignment import THUMBNAIL

Bits = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Likeness:
    """What a decoded picture is compared by.

    Attributes:
        pixel_digest: SHA-256 of the upright RGB pixels and their size.
        thumbnail: Grey, squashed to a square, uint8 [128, 128].
        hashes: Perceptual hash (phash) and difference hash (dhash), [2, 64].
        mirrored_hashes: The same of the mirrored picture.
    """

    pixel_digest: str
    thumbnail: npt.NDArray[np.uint8]
    hashes: Bits
    mirrored_hashes: Bits


@dataclass(frozen=True)
class Fingerprint:
    """One picture file.

    Attributes:
        name: Its file name in the dataset.
        file_digest: SHA-256 of its bytes; empty where it could not be read.
        marked: Whether its metadata, content credentials or watermark say that a model made it.
        format: What its content is, one of `porcelain.images.FORMATS`; None where unreadable.
        width: Upright width in pixels; 0 where unreadable.
        height: Upright height likewise.
        problem: A word for why it cannot be used (missing, empty, corrupt, unsupported,
            too_large), or None.
        message: The same in a sentence.
        likeness: What it is compared by; None where it cannot be used.
    """

    name: str
    file_digest: str = ""
    marked: bool = False
    format: str | None = None
    width: int = 0
    height: int = 0
    problem: str | None = None
    message: str = ""
    likeness: Likeness | None = None


def fingerprint(path: Path, name: str) -> Fingerprint:
    """Read one file. Whatever is wrong with it is told in the result, not raised."""
    try:
        data = read_picture(path)
    except ImageTooLargeError as error:
        return Fingerprint(name, problem=error.reason, message=str(error))
    except FileNotFoundError:
        return Fingerprint(name, problem="missing", message="The file does not exist.")
    except OSError as error:
        message = f"The file cannot be read: {error.strerror or error}."
        return Fingerprint(name, problem="corrupt", message=message)
    digest, marked = sha256_bytes(data), examine(data, pixels=False).synthetic
    try:
        decoded = decode_image(data)
    except ImageError as error:
        problem = error.reason if data else "empty"
        return Fingerprint(name, digest, marked, problem=problem, message=str(error))
    marked = marked or detect_watermark(decoded.pixels).present
    size = decoded.width, decoded.height
    return Fingerprint(name, digest, marked, decoded.format, *size, likeness=_likeness(decoded))


def fingerprint_dataset(
    dataset: Dataset,
    workers: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> list[Fingerprint]:
    """Read every picture of a dataset, in its order, on all cores.

    Threads suffice: decoding, resizing and digesting leave Python's lock free.

    Args:
        dataset: Pictures may be missing or broken.
        workers: Threads; None takes one per core.
        on_progress: Called with the number of pictures read so far.
    """
    names: Sequence[str] = [record.file_name for record in dataset.records]
    paths = [dataset.root / name for name in names]
    prints: list[Fingerprint] = []
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        for result in pool.map(fingerprint, paths, names):
            prints.append(result)
            if on_progress is not None:
                on_progress(len(prints))
    return prints


def _likeness(decoded: DecodedImage) -> Likeness:
    picture = decoded.pixels
    content = repr(picture.size).encode() + picture.tobytes()
    small = picture.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX, reducing_gap=3.0)
    grey = small.convert("L")
    return Likeness(
        pixel_digest=sha256_bytes(content),
        thumbnail=np.asarray(grey),
        hashes=_hashes(grey),
        mirrored_hashes=_hashes(ImageOps.mirror(grey)),
    )


def _hashes(grey: Image.Image) -> Bits:
    hashes = (imagehash.phash(grey), imagehash.dhash(grey))
    return np.stack([np.asarray(value.hash, dtype=np.bool_).ravel() for value in hashes])
