"""From the model's outputs to what callers read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from porcelain.bundle import ClassifierInfo
from porcelain.errors import ImageError
from porcelain.predictor import Outputs, TaskPrediction, interpret
from porcelain.views import pool_views
from services.classifier.schemas import (
    Candidate,
    Classified,
    Failed,
    LabelSets,
    ObjectClassified,
    ObjectFailed,
    Prediction,
)
from services.problems import Problem, problem_of, unusable
from services.schemas import ProblemDetails


@dataclass(frozen=True, slots=True)
class Answered:
    """A picture's answer, and the outputs that it was made from."""

    answer: Classified
    outputs: Outputs


def predictions_of(found: Mapping[str, TaskPrediction]) -> dict[str, Prediction]:
    """Labels, probabilities, abstentions and candidates, by task."""
    return {
        task: Prediction(
            label=one.label,
            probability=round(one.probability, 6),
            abstained=one.abstained,
            top=[
                Candidate(label=entry.label, probability=round(entry.probability, 6))
                for entry in one.top
            ],
        )
        for task, one in found.items()
    }


def label_sets_of(found: Mapping[str, TaskPrediction], coverage: float) -> LabelSets:
    """The label sets, by task."""
    sets = {task: one.label_set for task, one in found.items()}
    return LabelSets(
        coverage=coverage,
        labels={task: list(labels) for task, labels in sets.items() if labels is not None},
    )


def entry_of(answered: Answered | ImageError) -> Classified | Failed:
    """One picture's entry in a batch."""
    if isinstance(answered, ImageError):
        return Failed(error=_details(problem_of(answered)))
    return answered.answer


def object_entries(
    info: ClassifierInfo,
    pictures: Sequence[Answered | ImageError],
    names: Sequence[str],
    top_k: int,
) -> list[ObjectClassified | ObjectFailed]:
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
) -> ObjectClassified | ObjectFailed:
    answered = {i: one for i in places if not isinstance(one := pictures[i], ImageError)}
    if not answered:
        problem = unusable("None of its pictures could be used: see their own entries.")
        return ObjectFailed(object=name, error=_details(problem))
    outputs = pool_views([one.outputs for one in answered.values()])
    found = interpret(info, outputs, top_k=top_k)[0]
    return ObjectClassified(object=name, pictures=list(answered), predictions=predictions_of(found))


def _details(problem: Problem) -> ProblemDetails:
    return ProblemDetails(**problem.members(), request_id=None)
