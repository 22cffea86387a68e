"""Scores that tell what a model knows from what it does not: those that `in_domain` compares."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
from sklearn.covariance import LedoitWolf

from porcelain.domain import fit_domain, likeness, normalised
from porcelain.predictor import Outputs

FloatArray = npt.NDArray[np.floating]
Score = Callable[[Outputs], FloatArray]
Head = tuple[FloatArray, FloatArray]
"""Weights [classes, F] and biases [classes] of one task's linear layer."""

USED = "PCA residual (used)"


def features_of(outputs: Outputs) -> FloatArray:
    """Features [N, F], asked for by whoever ran the pictures."""
    if outputs.features is None:
        raise ValueError("run the pictures with features=True")
    return outputs.features


def scores(
    train: FloatArray, labels: npt.NDArray[np.int64], heads: Mapping[str, Head]
) -> dict[str, Score]:
    """Every method, fitted to the training pictures; higher is more like them.

    Sources: nearest neighbours, Sun et al. (arXiv 2204.06507); Mahalanobis, Lee et al.
    (arXiv 1807.03888), relative to all classes, Ren et al. (arXiv 2106.09022); residual, ViM, Wang
    et al. (arXiv 2203.10807); energy, Liu et al. (arXiv 2010.03759); highest probability,
    Hendrycks and Gimpel (arXiv 1610.02136).

    Args:
        train: Features of the training pictures [N, F].
        labels: Their classes of one task, for class-conditional methods [N]; -1 unknown.
        heads: The linear layers on the features by task; energy needs them.
    """
    unit, domain = normalised(train), fit_domain(train)
    found: dict[str, Score] = {
        USED: lambda outputs: likeness(features_of(outputs), domain),
        "1st neighbour": lambda outputs: _neighbour(outputs, unit, 1),
        "5th neighbour": lambda outputs: _neighbour(outputs, unit, 5),
        **_mahalanobis(unit, labels),
        "feature length": lambda outputs: np.linalg.norm(features_of(outputs), axis=1),
        "highest probability": lambda outputs: np.mean(
            [rows.max(axis=1) for rows in outputs.probabilities.values()], axis=0
        ),
    }
    if heads:
        found["energy"] = _energy(heads)
    return found


def _neighbour(outputs: Outputs, unit: FloatArray, place: int) -> FloatArray:
    near = normalised(features_of(outputs)) @ unit.T
    kth: FloatArray = np.partition(near, -place, axis=1)[:, -place]
    return kth


def _mahalanobis(unit: FloatArray, labels: npt.NDArray[np.int64]) -> dict[str, Score]:
    whole = LedoitWolf().fit(unit)
    known = labels >= 0
    classes = np.unique(labels[known])
    means = np.stack([unit[labels == label].mean(axis=0) for label in classes])
    within = unit[known] - means[np.searchsorted(classes, labels[known])]
    precision = LedoitWolf(assume_centered=True).fit(within).precision_

    def to_all(outputs: Outputs) -> FloatArray:
        distances: FloatArray = -whole.mahalanobis(normalised(features_of(outputs)))
        return distances

    def to_nearest(outputs: Outputs) -> FloatArray:
        gaps = normalised(features_of(outputs))[:, np.newaxis] - means
        distances = np.einsum("ncf,fg,ncg->nc", gaps, precision, gaps, optimize=True)
        nearest: FloatArray = -distances.min(axis=1)
        return nearest

    return {
        "Mahalanobis": to_all,
        "Mahalanobis by type": to_nearest,
        "relative Mahalanobis": lambda outputs: to_nearest(outputs) - to_all(outputs),
    }


def _energy(heads: Mapping[str, Head]) -> Score:
    def score(outputs: Outputs) -> FloatArray:
        total = np.zeros(len(features_of(outputs)))
        for weights, biases in heads.values():
            logits = features_of(outputs) @ weights.T + biases
            top = logits.max(axis=1)
            total += top + np.log(np.exp(logits - top[:, np.newaxis]).sum(axis=1))
        return total

    return score
