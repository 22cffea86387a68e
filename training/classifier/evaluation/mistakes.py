"""The worst mistakes as pictures: what was shown, what the label says, what the model looked at."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from porcelain.dataset import Dataset
from porcelain.explanation import heat_map_png
from porcelain.predictor import Predictor
from porcelain.preparation import decode_and_prepare
from training.classifier.evaluation.predictions import Predictions
from training.pages.page import thumbnail_uri

SHOWN = 8
"""Mistakes per task in the report."""

_SIDE = 300


@dataclass(frozen=True)
class Mistake:
    """A wrong answer.

    Attributes:
        index: Of the picture in `Predictions`.
        file_name: Of the picture below the dataset folder.
        label: What the data says.
        predicted: What the model says.
        probability: The model's probability of its answer.
        label_probability: Its probability of the label; None where it has no such class.
    """

    index: int
    file_name: str
    label: str
    predicted: str
    probability: float
    label_probability: float | None


@dataclass(frozen=True)
class Illustration:
    """The picture and, laid over it, what spoke for the answer; both data URIs."""

    picture: str
    attention: str


def worst_mistakes(predictions: Predictions, task: str, count: int = SHOWN) -> list[Mistake]:
    """The wrong answers of which the model was surest, surest first."""
    classes, labels = predictions.classes[task], predictions.labels[task]
    probabilities = predictions.probabilities[task]
    answers, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero((labels >= 0) & (answers != labels))
    order = wrong[np.argsort(-confidence[wrong], kind="stable")][:count]
    named = probabilities.shape[1]
    return [
        Mistake(
            index=int(i),
            file_name=predictions.records[i].file_name,
            label=classes[labels[i]],
            predicted=classes[answers[i]],
            probability=float(confidence[i]),
            label_probability=float(probabilities[i, labels[i]]) if labels[i] < named else None,
        )
        for i in order
    ]


def illustrate(
    mistakes: Sequence[Mistake],
    task: str,
    predictions: Predictions,
    dataset: Dataset,
    predictor: Predictor,
) -> list[Illustration]:
    """Thumbnails of mistakes, with the class-activation map of the answer that was given."""
    if not mistakes:
        return []
    info = predictor.info
    prepared = [
        decode_and_prepare(
            dataset.path(predictions.records[mistake.index]).read_bytes(),
            info.input_size,
            info.resize,
        )
        for mistake in mistakes
    ]
    outputs = predictor.run(np.stack([pixels for pixels, _ in prepared]), activation=True)
    if outputs.activation is None:
        raise RuntimeError("The predictor returned no activation maps.")
    maps = outputs.activation[:, predictor.tasks.index(task)]
    illustrations = []
    for (pixels, decoded), activation in zip(prepared, maps, strict=True):
        overlay = heat_map_png(pixels, activation, (decoded.width, decoded.height), info.resize)
        illustrations.append(
            Illustration(
                picture=thumbnail_uri(decoded.pixels, _SIDE),
                attention=thumbnail_uri(Image.open(io.BytesIO(overlay)).convert("RGB"), _SIDE),
            )
        )
    return illustrations
