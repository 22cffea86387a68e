"""The features of a bundle's own pictures, from which it judges likeness and finds similar ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from porcelain.dataset import Record
from porcelain.preparation import CROP, prepare
from training.classifier.calibration import FloatArray
from training.classifier.export import ServingModel
from training.classifier.records import LabelledPictures, one_per_object
from training.classifier.settings import TrainSettings
from training.classifier.trained import Trained
from training.data.split import SUBSETS

_TOGETHER = 32  # pictures in one call


@dataclass(frozen=True)
class Features:
    """Shared features of the pictures that a bundle is made from.

    Attributes:
        train: Of the training part [N, F], by the model that was measured.
        validation: Of one picture of each object of the validation part [M, F], by the same.
        served: Of every picture that the served model has learned from [K, F], by that model.
        records: These pictures' rows [K].
    """

    train: FloatArray
    validation: FloatArray
    served: FloatArray
    records: tuple[Record, ...]


def extract_features(
    trained: Trained,
    pictures: Mapping[str, LabelledPictures],
    final: Trained | None,
) -> Features:
    """Run both models over the pictures that they are to remember.

    Args:
        trained: The model that did not learn from validation and test pictures.
        pictures: Prepared pictures per part.
        final: The model that learned from all of them, if that is the one served.
    """
    train = _features(trained, pictures["train"])
    validation = _features(trained, pictures["validation"])
    validation = validation[one_per_object(pictures["validation"].records)]
    if final is None:
        return Features(train, validation, train, pictures["train"].records)
    parts = [pictures[part] for part in SUBSETS if len(pictures[part].labels)]
    served = np.concatenate([_features(final, part) for part in parts])
    records = tuple(record for part in parts for record in part.records)
    return Features(train, validation, served, records)


def as_served(pixels: npt.NDArray[np.uint8], settings: TrainSettings) -> npt.NDArray[np.uint8]:
    """Pictures [N, size, size, 3] as the service would prepare them.

    Args:
        pixels: Prepared at the input size, or, for augmentation, larger and with more around them.
        settings: How they were prepared.
    """
    size, found = settings.input_size, pixels.shape[1]
    if found == size:
        return pixels
    seen = round(found * CROP) if settings.resize == "letterbox-crop" else found
    start = (found - seen + 1) // 2  # rounded as `prepare` rounds
    window = slice(start, start + seen)
    pixels = pixels[:, window, window]
    if seen == size:
        return pixels
    return np.stack([prepare(Image.fromarray(one), size, "squash") for one in pixels])


def _features(trained: Trained, part: LabelledPictures) -> FloatArray:
    """Shared features [N, F] of prepared pictures, as the exported graph returns them."""
    pixels = np.asarray(part.pictures.pixels)
    serving = ServingModel(trained.model.cpu().eval(), dict.fromkeys(trained.tasks, 1.0))
    serving.eval()
    found: list[FloatArray] = []
    with torch.no_grad():
        for start in range(0, len(pixels), _TOGETHER):
            some = as_served(pixels[start : start + _TOGETHER], trained.settings)
            found.append(serving(torch.from_numpy(np.array(some)))[-1].numpy())
    return np.concatenate(found) if found else np.zeros((0, 0), dtype=np.float32)
