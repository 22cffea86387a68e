"""What the other answers are worth when some labels are known: facts from the folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from porcelain.bundle import CLASSIFIER_MODEL_FILE, ClassifierInfo
from porcelain.errors import UserError
from porcelain.predictor import label_prior
from training.classifier.evaluation.predictions import Predictions
from training.classifier.evaluation.selection import Selection


@dataclass(frozen=True)
class Given:
    """Predictions that rest on facts, and what they are to be judged by.

    Attributes:
        predictions: Of the other tasks, on the pictures that have every fact.
        selection: With the others counted among those left out.
        info: The bundle's, with the abstention thresholds for these facts and no label sets.
        known: The tasks that are known.
    """

    predictions: Predictions
    selection: Selection
    info: ClassifierInfo
    known: tuple[str, ...]


def check_known_tasks(info: ClassifierInfo, known: Sequence[str]) -> None:
    """Refuse facts that the bundle cannot use, before there is work to lose.

    Raises:
        UserError: No such task, all tasks, or a bundle that does not hold which labels occur
            together.
    """
    for task in known:
        if task not in info.labels:
            raise UserError(
                f"--known: the bundle has no task {task!r}; its tasks are {', '.join(info.labels)}."
            )
    if len(set(known)) == len(info.labels):
        raise UserError("--known names every task, so that nothing is left to measure.")
    if known:
        label_prior(info)


def give_facts(
    info: ClassifierInfo, predictions: Predictions, selection: Selection, known: Sequence[str]
) -> Given:
    """Give the labels of some tasks as facts.

    Args:
        info: The bundle's.
        predictions: What its graph says of every picture.
        selection: The pictures that were chosen, and the graph.
        known: Tasks of the bundle; none leaves everything as it is.

    Raises:
        UserError: No picture has a label of every known task that the bundle has a word for.
    """
    if not known:
        return Given(predictions, selection, info, ())
    tasks = tuple(task for task in info.labels if task in known)
    usable = np.all(
        [
            (predictions.labels[task] >= 0) & (predictions.labels[task] < len(info.labels[task]))
            for task in tasks
        ],
        axis=0,
    )
    if not usable.any():
        raise UserError(
            f"No picture has a label of {' and '.join(tasks)} that the bundle knows; leave --known "
            "out."
        )
    rows = np.flatnonzero(usable)
    others = [task for task in info.labels if task not in tasks]
    facts = [
        {task: info.labels[task][predictions.labels[task][row]] for task in tasks} for row in rows
    ]
    prior = label_prior(info, held_out=selection.graph != CLASSIFIER_MODEL_FILE)
    conditioned = prior.condition(
        {task: predictions.probabilities[task][rows] for task in others}, facts
    )
    calibration = prior.calibration(frozenset(tasks))
    thresholds = {} if calibration is None else calibration.abstention_thresholds
    caveats = dict.fromkeys(
        others, "Too few validation pictures have these facts to calibrate with."
    )
    if calibration is not None and set(calibration.known) == set(tasks):
        for task in thresholds:
            caveats.pop(task, None)
        caveats |= calibration.abstention_caveats
    reason = f"no {' or no '.join(tasks)} that the bundle knows"
    missing = {reason: int((~usable).sum())} if not usable.all() else {}
    return Given(
        Predictions(
            tuple(predictions.records[row] for row in rows),
            tuple(predictions.objects[row] for row in rows),
            {task: predictions.classes[task] for task in others},
            {task: predictions.labels[task][rows] for task in others},
            {task: conditioned[task].astype(np.float32) for task in others},
            None if predictions.domain is None else predictions.domain[rows],
        ),
        replace(selection, left_out=selection.left_out | missing),
        info.model_copy(
            update={
                "conformity": {},
                "abstention_thresholds": info.abstention_thresholds | thresholds,
                "abstention_caveats": caveats,
            }
        ),
        tasks,
    )
