"""From the model's outputs to what callers read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from porcelain.bundle import ClassifierInfo
from porcelain.errors import ImageError
from porcelain.label_prior import Known, LabelPrior
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
    UnusualCombination,
)
from services.problems import Problem, bad_request, problem_of, unusable
from services.schemas import ProblemDetails


@dataclass(frozen=True, slots=True)
class Answered:
    """A picture's answer, and the outputs and facts that it was made from."""

    answer: Classified
    outputs: Outputs
    known: Known


def predictions_of(found: Mapping[str, TaskPrediction]) -> dict[str, Prediction]:
    """Labels, probabilities, abstentions and candidates, by task."""
    return {
        task: Prediction(
            label=one.label,
            probability=round(one.probability, 6),
            abstained=one.abstained,
            none_of_these=one.none_of_these,
            top=[
                Candidate(label=entry.label, probability=round(entry.probability, 6))
                for entry in one.top
            ],
            **(_of_fact(task, one) if one.known else {}),
        )
        for task, one in found.items()
    }


def unusual_combination_of(
    found: Mapping[str, TaskPrediction], prior: LabelPrior | None
) -> UnusualCombination | None:
    """The two answers that are the most unusual together; None where none are, or it is unknown."""
    unusual = prior.unusual({task: one.label for task, one in found.items()}) if prior else None
    if unusual is None:
        return None
    pair = " and ".join(f"{task} {label}" for task, label in unusual.labels.items())
    return UnusualCombination(
        labels=unusual.labels, note=f"{pair} never occurred together in training."
    )


def _of_fact(task: str, one: TaskPrediction) -> dict[str, Any]:
    return {
        "known": True,
        "model_probability": round(one.model_probability or 0.0, 6),
        "conflict": one.conflict,
        "note": one.conflict_note(task) if one.conflict else None,
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
    prior: LabelPrior | None,
) -> list[ObjectClassified | ObjectFailed]:
    """One entry per object, in the order in which they are first named.

    What is known of any of its pictures is known of the object.

    Args:
        info: Of the bundle.
        pictures: A batch's pictures.
        names: The object that each shows; blank where it is none's.
        top_k: Candidates per task.
        prior: What facts are used with; None where the bundle cannot use them.

    Raises:
        Problem: 400, what is known of an object's pictures contradicts itself.
    """
    members: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        if name:
            members.setdefault(name, []).append(index)
    return [
        _object_entry(info, name, pictures, places, top_k, prior)
        for name, places in members.items()
    ]


def _object_entry(
    info: ClassifierInfo,
    name: str,
    pictures: Sequence[Answered | ImageError],
    places: Sequence[int],
    top_k: int,
    prior: LabelPrior | None,
) -> ObjectClassified | ObjectFailed:
    answered = {i: one for i in places if not isinstance(one := pictures[i], ImageError)}
    if not answered:
        problem = unusable("None of its pictures could be used: see their own entries.")
        return ObjectFailed(object=name, error=_details(problem))
    known: dict[str, str] = {}
    for one in answered.values():
        for task, label in one.known.items():
            if known.setdefault(task, label) != label:
                raise bad_request(
                    "option",
                    f"known says {task} {known[task]} of one picture of {name[:50]!a} and {label} "
                    "of another; an object has one.",
                )
    outputs = pool_views([one.outputs for one in answered.values()])
    found = interpret(info, outputs, top_k=top_k, known=[known], prior=prior)[0]
    return ObjectClassified(object=name, pictures=list(answered), predictions=predictions_of(found))


def _details(problem: Problem) -> ProblemDetails:
    return ProblemDetails(**problem.members(), request_id=None)
