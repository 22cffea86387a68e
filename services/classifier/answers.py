"""From the model's outputs to what callers read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from porcelain.bundle import ClassifierInfo
from porcelain.errors import ImageError
from porcelain.predictor import Outputs, TaskPrediction, interpret
from porcelain.views import pool_views
from services.problems import problem_of, unusable

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answered:
    """A picture's answer, and the outputs that it was made from."""

    answer: Answer
    outputs: Outputs


def shaped_predictions(predictions: Mapping[str, TaskPrediction]) -> Answer:
    """Labels, probabilities, abstentions and candidates, by task."""
    return {
        task: {
            "label": prediction.label,
            "probability": round(prediction.probability, 6),
            "abstained": prediction.abstained,
            "top": [
                {"label": entry.label, "probability": round(entry.probability, 6)}
                for entry in prediction.top
            ],
        }
        for task, prediction in predictions.items()
    }


def shaped_label_sets(predictions: Mapping[str, TaskPrediction], coverage: float) -> Answer:
    """The label sets, by task."""
    sets = {task: prediction.label_set for task, prediction in predictions.items()}
    return {
        "coverage": coverage,
        "labels": {task: list(labels) for task, labels in sets.items() if labels is not None},
    }


def picture_entry(answered: Answered | ImageError) -> Answer:
    """One picture's entry in a batch."""
    if isinstance(answered, ImageError):
        return {"error": problem_of(answered).members()}
    return answered.answer


def object_entries(
    info: ClassifierInfo,
    pictures: Sequence[Answered | ImageError],
    names: Sequence[str],
    top_k: int,
) -> list[Answer]:
    """One entry per object, in the order in which they are first named.

    Args:
        info: Of the bundle.
        pictures: A batch's pictures.
        names: The object that each shows; blank where it is none's.
        top_k: Candidates per task.
    """
    members: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        if name:
            members.setdefault(name, []).append(index)
    return [_object_entry(info, name, pictures, places, top_k) for name, places in members.items()]


def _object_entry(
    info: ClassifierInfo,
    name: str,
    pictures: Sequence[Answered | ImageError],
    places: Sequence[int],
    top_k: int,
) -> Answer:
    answered = {i: one for i in places if not isinstance(one := pictures[i], ImageError)}
    if not answered:
        problem = unusable("None of its pictures could be used: see their own entries.")
        return {"object": name, "error": problem.members()}
    outputs = pool_views([one.outputs for one in answered.values()])
    predictions = interpret(info, outputs, top_k=top_k)[0]
    return {
        "object": name,
        "pictures": list(answered),
        "predictions": shaped_predictions(predictions),
    }
