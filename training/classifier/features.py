"""The features of a bundle's own pictures, from which it judges likeness and finds similar ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from porcelain.dataset import Record
from training.classifier.calibration import FloatArray
from training.classifier.export import ServingModel
from training.classifier.records import LabelledPictures
from training.classifier.trainer import ClassifierTrainer

_TOGETHER = 32  # pictures in one call


@dataclass(frozen=True)
class Features:
    """Shared features of the pictures that a bundle is made from.

    Attributes:
        train: Of the training part [N, F], by the model that was measured.
        validation: Of the validation part [M, F], by the same.
        served: Of every picture that the served model has learned from [K, F], by that model.
        records: These pictures' rows [K].
    """

    train: FloatArray
    validation: FloatArray
    served: FloatArray
    records: tuple[Record, ...]


def extract_features(
    trainer: ClassifierTrainer,
    pictures: Mapping[str, LabelledPictures],
    final: ClassifierTrainer | None,
) -> Features:
    """Run both models over the pictures that they are to remember.

    Args:
        trainer: Carries the model that did not learn from validation and test pictures.
        pictures: Prepared pictures per part.
        final: Carries the model that learned from all of them, if that is the one served.
    """
    settings = trainer.settings
    start = max(0, (settings.cached_size - settings.input_size) // 2)
    window = slice(start, start + settings.input_size)
    learned = np.asarray(pictures["train"].pictures.pixels)[:, window, window]
    validation = np.asarray(pictures["validation"].pictures.pixels)
    train = _features(trainer, learned)
    held_out = _features(trainer, validation)
    if final is None:
        return Features(train, held_out, train, pictures["train"].records)
    parts = (learned, validation, np.asarray(pictures["test"].pictures.pixels))
    served = np.concatenate([_features(final, pixels) for pixels in parts if len(pixels)])
    rows = (pictures[part].records for part in ("train", "validation", "test"))
    return Features(train, held_out, served, tuple(record for part in rows for record in part))


def _features(trainer: ClassifierTrainer, pixels: npt.NDArray[np.uint8]) -> FloatArray:
    """Shared features [N, F] of prepared pictures, as the exported graph returns them."""
    serving = ServingModel(trainer.model.cpu().eval(), dict.fromkeys(trainer.model.tasks, 1.0))
    serving.eval()
    found: list[FloatArray] = []
    with torch.no_grad():
        for start in range(0, len(pixels), _TOGETHER):
            some = torch.from_numpy(np.array(pixels[start : start + _TOGETHER]))
            found.append(serving(some)[-1].numpy())
    return np.concatenate(found) if found else np.zeros((0, 0), dtype=np.float32)
