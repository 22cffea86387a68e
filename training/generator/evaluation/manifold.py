"""Precision and recall, density and coverage: what a single distance between two sets mixes up.

Precision and density fall when generated pictures lie where no photograph does, recall and coverage
when photographs have no generated picture near. Sources: Kynkäänniemi, Karras, Laine, Lehtinen,
Aila, "Improved Precision and Recall Metric for Assessing Generative Models", arXiv 1904.06991;
Naeem, Oh, Uh, Choi, Yoo, "Reliable Fidelity and Diversity Metrics for Generative Models", arXiv
2002.09797.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist, pdist

Features = npt.NDArray[np.floating]

NEIGHBOURS: Final = 5
"""The neighbour whose distance is a picture's radius, as in arXiv 2002.09797."""


@dataclass(frozen=True)
class Manifold:
    """How two sets cover each other.

    Attributes:
        precision: Share of generated pictures within some photograph's radius.
        recall: Share of photographs within some generated picture's radius.
        density: Photographs' radii that a generated picture is within, over `neighbours`; may
            exceed 1 where pictures crowd.
        coverage: Share of photographs with a generated picture within their radius.
        neighbours: Which neighbour's distance is the radius.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    neighbours: int


def compare_manifolds(
    real: Features, generated: Features, neighbours: int = NEIGHBOURS
) -> Manifold | None:
    """Precision, recall, density and coverage of generated pictures against photographs.

    Args:
        real: Features [N, F].
        generated: Features [M, F].
        neighbours: Which neighbour's distance is a radius.

    Returns:
        None where a set has no more pictures than `neighbours`.
    """
    if min(len(real), len(generated)) <= neighbours:
        return None
    distances = cdist(real, generated)
    within_real = distances < radii(real, neighbours)[:, None]
    within_generated = distances < radii(generated, neighbours)[None, :]
    return Manifold(
        precision=float(within_real.any(axis=0).mean()),
        recall=float(within_generated.any(axis=1).mean()),
        density=float(within_real.sum(axis=0).mean() / neighbours),
        coverage=float(within_real.any(axis=1).mean()),
        neighbours=neighbours,
    )


def radii(features: Features, neighbours: int) -> npt.NDArray[np.float64]:
    """Distance of each picture to its `neighbours`-th nearest other one, [N]."""
    # The picture itself, at distance 0, is among the sorted.
    nearest = np.partition(cdist(features, features), neighbours, axis=1)
    result: npt.NDArray[np.float64] = nearest[:, neighbours]
    return result


def diversity(features: Features) -> float | None:
    """Mean distance between two pictures of a set [N, F]; None for fewer than two."""
    return float(pdist(features).mean()) if len(features) > 1 else None
