"""What a bundle keeps to know what it does not know: its pictures' features, its sets' limits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from porcelain.bundle import CLASSIFIER_MODEL_FILE, HELD_OUT_MODEL_FILE
from porcelain.conformal import calibration_scores
from porcelain.domain import (
    DOMAIN_FILE,
    choose_threshold,
    encode_domain,
    fit_domain,
    likeness,
)
from porcelain.files import write_bytes
from training.classifier.calibration import LEAST_PICTURES, FloatArray, apply_temperature
from training.classifier.export import ServingModel
from training.classifier.records import LabelledPictures
from training.classifier.trainer import ClassifierTrainer

_TOGETHER = 32  # pictures in one call


def conformity(
    trainer: ClassifierTrainer,
    validation: LabelledPictures,
    classes: dict[str, list[str]],
    temperatures: dict[str, float],
) -> dict[str, dict[str, list[float]]]:
    """What label sets are made from, by task: the scores of `porcelain.conformal`.

    Args:
        trainer: Carries a model that did not learn from validation.
        validation: Its prepared pictures.
        classes: Labels per task in index order.
        temperatures: Per task.
    """
    if len(validation.labels) == 0:
        return {}
    logits = trainer.predict(validation.pictures)
    return {
        task: calibration_scores(
            apply_temperature(logits[task], temperatures[task]),
            validation.labels[:, column].numpy(),
            classes[task],
        )
        for column, task in enumerate(trainer.model.tasks)
    }


def write_domains(
    folder: Path,
    trainer: ClassifierTrainer,
    pictures: Mapping[str, LabelledPictures],
    final: ClassifierTrainer | None,
) -> float | None:
    """Write, beside each graph, what its features of its training pictures are like.

    Args:
        folder: The bundle's.
        trainer: Carries the model that did not learn from validation and test pictures.
        pictures: Prepared pictures per part.
        final: Carries the model that learned from all of them, if that is the one served.

    Returns:
        The threshold, from the first model, as temperatures; None where validation is too small.
    """
    settings = trainer.settings
    if len(pictures["validation"].labels) < LEAST_PICTURES:
        return None
    start = max(0, (settings.cached_size - settings.input_size) // 2)
    window = slice(start, start + settings.input_size)
    learned = np.asarray(pictures["train"].pictures.pixels)[:, window, window]
    validation = np.asarray(pictures["validation"].pictures.pixels)
    domain = fit_domain(_features(trainer, learned))
    measured = CLASSIFIER_MODEL_FILE if final is None else HELD_OUT_MODEL_FILE
    write_bytes((folder / measured).with_name(DOMAIN_FILE), encode_domain(domain))
    if final is not None:
        rest = [np.asarray(pictures[part].pictures.pixels) for part in ("validation", "test")]
        parts = [learned, *(pixels for pixels in rest if len(pixels))]
        every = np.concatenate([_features(final, pixels) for pixels in parts])
        write_bytes(folder / DOMAIN_FILE, encode_domain(fit_domain(every)))
    return choose_threshold(likeness(_features(trainer, validation), domain))


def _features(trainer: ClassifierTrainer, pixels: npt.NDArray[np.uint8]) -> FloatArray:
    """Shared features [N, F] of prepared pictures, as the exported graph returns them."""
    serving = ServingModel(trainer.model.cpu().eval(), dict.fromkeys(trainer.model.tasks, 1.0))
    serving.eval()
    found = []
    with torch.no_grad():
        for start in range(0, len(pixels), _TOGETHER):
            some = torch.from_numpy(np.array(pixels[start : start + _TOGETHER]))
            found.append(serving(some)[-1].numpy())
    return np.concatenate(found)
