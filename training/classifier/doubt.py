"""What a bundle keeps to know what it does not know: its pictures' features, its sets' limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from porcelain.bundle import CLASSIFIER_MODEL_FILE, HELD_OUT_MODEL_FILE
from porcelain.conformal import calibration_scores
from porcelain.domain import (
    DOMAIN_FILE,
    LEAST_SCORES,
    choose_threshold,
    encode_domain,
    fit_domain,
    likeness,
)
from porcelain.files import write_bytes
from training.classifier.calibration import LEAST_PICTURES, apply_temperature
from training.classifier.features import Features
from training.classifier.records import LabelledPictures, one_per_object
from training.classifier.trained import Trained


def conformity(
    trained: Trained,
    validation: LabelledPictures,
    classes: dict[str, list[str]],
    temperatures: dict[str, float],
) -> dict[str, dict[str, list[float]]]:
    """What label sets are made from, by task: the scores of `porcelain.conformal`.

    Args:
        trained: A model that did not learn from validation.
        validation: Its prepared pictures; one of each object counts.
        classes: Labels per task in index order.
        temperatures: Per task.
    """
    if len(validation.labels) == 0:
        return {}
    logits = trained.predict(validation.pictures)
    chosen = one_per_object(validation.records)
    return {
        task: calibration_scores(
            apply_temperature(logits[task][chosen], temperatures[task]),
            validation.labels[chosen, column].numpy(),
            classes[task],
        )
        for column, task in enumerate(trained.tasks)
    }


def none_of_these(
    trained: Trained, validation: LabelledPictures, temperatures: dict[str, float]
) -> dict[str, float]:
    """The greatest probability, by task, under which a picture may show an unknown label.

    The score is the maximum softmax probability (Hendrycks and Gimpel, arXiv 1610.02136), low for
    labels withheld from training; `benchmarks.none_of_these` compares it with others.

    Args:
        trained: A model that did not learn from validation.
        validation: Its prepared pictures; one of each object counts, and of those the ones whose
            label the model knows.
        temperatures: Per task.

    Returns:
        What 95 % of them reach, of the tasks that have enough of them.
    """
    if len(validation.labels) == 0:
        return {}
    logits = trained.predict(validation.pictures)
    chosen = np.array(one_per_object(validation.records))
    found = {}
    for column, task in enumerate(trained.tasks):
        rows = chosen[validation.labels[chosen, column].numpy() >= 0]
        if len(rows) >= LEAST_SCORES:
            greatest = apply_temperature(logits[task][rows], temperatures[task]).max(axis=1)
            found[task] = choose_threshold(greatest)
    return found


def write_domains(folder: Path, features: Features, *, refitted: bool) -> float | None:
    """Write, beside each graph, what its features of its training pictures are like.

    Args:
        folder: The bundle's.
        features: Of the pictures that the bundle is made from.
        refitted: Whether the model that is served learned from all of them.

    Returns:
        The threshold, from the first model, as temperatures; None where validation is too small.
    """
    if len(features.validation) < LEAST_PICTURES:
        return None
    domain = fit_domain(features.train)
    measured = HELD_OUT_MODEL_FILE if refitted else CLASSIFIER_MODEL_FILE
    write_bytes((folder / measured).with_name(DOMAIN_FILE), encode_domain(domain))
    if refitted:
        write_bytes(folder / DOMAIN_FILE, encode_domain(fit_domain(features.served)))
    return choose_threshold(likeness(features.validation, domain))
