"""Does the bundle know what it does not know? Its label sets and likeness scores, judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from porcelain.bundle import ClassifierInfo
from porcelain.conformal import DEFAULT_COVERAGE, has_own_limit, limits, members
from porcelain.domain import KEPT
from training.classifier.evaluation.bootstrap import (
    FloatArray,
    IntArray,
    interval,
    object_weights,
    totals,
)
from training.classifier.evaluation.doubt_results import (
    Doubt,
    LabelSetResult,
    LikenessResult,
    SetsOfClass,
)
from training.classifier.evaluation.metrics import UNKNOWN
from training.classifier.evaluation.predictions import Predictions
from training.classifier.evaluation.result import Bounds


def evaluate_doubt(
    info: ClassifierInfo, predictions: Predictions, *, resamples: int, seed: int
) -> Doubt:
    """Label sets of every task that the bundle is calibrated for, and the share in the domain.

    Args:
        info: The bundle's.
        predictions: Its answers about labelled pictures.
        resamples: Bootstrap draws for the intervals.
        seed: Of the draws.
    """
    objects, weights = object_weights(predictions.objects, resamples, seed)
    sets = {
        task: _label_sets(
            predictions.labels[task],
            np.asarray(predictions.probabilities[task], dtype=np.float64),
            info.labels[task],
            scores,
            objects,
            weights,
        )
        for task, scores in info.conformity.items()
        if (predictions.labels[task] != UNKNOWN).any()
    }
    return Doubt(label_sets=sets, likeness=_likeness(info, predictions, objects, weights))


def _label_sets(
    labels: IntArray,
    probabilities: FloatArray,
    names: Sequence[str],
    scores: Mapping[str, Sequence[float]],
    objects: IntArray,
    weights: FloatArray,
) -> LabelSetResult:
    known = labels != UNKNOWN
    labels, objects = labels[known], objects[known]
    chosen = members(probabilities[known], limits(scores, names, DEFAULT_COVERAGE))
    # A label that the bundle has no class for is in no set.
    held = np.zeros(len(labels), dtype=bool)
    nameable = labels < len(names)
    held[nameable] = chosen[nameable, labels[nameable]]
    sizes = chosen.sum(axis=1)
    classes = {
        name: SetsOfClass(
            support=int((labels == index).sum()),
            coverage=float(held[labels == index].mean()),
            own_limit=has_own_limit(scores, name, DEFAULT_COVERAGE),
        )
        for index, name in enumerate(names)
        if (labels == index).any()
    }
    return LabelSetResult(
        stated=DEFAULT_COVERAGE,
        support=len(labels),
        coverage=float(held.mean()),
        coverage_interval=_interval(held.astype(np.float64), objects, weights),
        mean_size=float(sizes.mean()),
        single=float((sizes == 1).mean()),
        classes=classes,
    )


def _likeness(
    info: ClassifierInfo, predictions: Predictions, objects: IntArray, weights: FloatArray
) -> LikenessResult | None:
    if predictions.domain is None or info.in_domain_threshold is None:
        return None
    inside = predictions.domain >= info.in_domain_threshold
    return LikenessResult(
        threshold=info.in_domain_threshold,
        stated=KEPT,
        in_domain=float(inside.mean()),
        in_domain_interval=_interval(inside.astype(np.float64), objects, weights),
    )


def _interval(values: FloatArray, objects: IntArray, weights: FloatArray) -> Bounds | None:
    """Of the mean over pictures, objects drawn with replacement."""
    with np.errstate(invalid="ignore", divide="ignore"):
        means = totals(weights, objects, values) / totals(weights, objects, np.ones(len(values)))
    return interval(means)
