"""Distances between two sets of feature vectors: KID, precision and recall, density and coverage.

Sources: Bińkowski, Sutherland, Arbel, Gretton, "Demystifying MMD GANs", arXiv 1801.01401;
Kynkäänniemi, Karras, Laine, Lehtinen, Aila, "Improved Precision and Recall Metric for Assessing
Generative Models", arXiv 1904.06991; Naeem, Oh, Uh, Choi, Yoo, "Reliable Fidelity and Diversity
Metrics for Generative Models", arXiv 2002.09797. torchmetrics has the same KID kernel, but takes
pictures rather than features, in single precision, and two sets of one size, which the few
photographs of a rare kind are not; the tests hold ours against its formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist, pdist
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.utils import gen_batches

Features = npt.NDArray[np.floating]

LEAST_PICTURES: Final = 4
"""Pictures per set under which the distance is mostly luck."""

_BLOCK = 1024


@dataclass(frozen=True)
class KernelDistance:
    """A distance between two sets.

    Attributes:
        value: Squared maximum mean discrepancy over all pictures, unbiased: around 0 for two
            samples of one distribution, and then below 0 as often as above.
        std: Standard deviation of the distance over random subsets.
        subset_size: Pictures of each set in a subset.
    """

    value: float
    std: float
    subset_size: int


def kernel_distance(
    real: Features, other: Features, *, subsets: int = 100, subset_size: int = 100, seed: int = 0
) -> KernelDistance | None:
    """KID with its spread.

    The value uses every pair, which has the same expectation as the usual mean over subsets and
    less noise; the subsets tell the noise.

    Args:
        real: Features [N, F].
        other: Features [M, F].
        subsets: Random subsets for the spread.
        subset_size: Pictures of each set in one; at most half of the smaller set, so that the
            subsets differ.
        seed: Seed of the subsets.

    Returns:
        None where a set has fewer than `LEAST_PICTURES`.
    """
    smaller = min(len(real), len(other))
    if smaller < LEAST_PICTURES:
        return None
    size = max(2, min(subset_size, smaller // 2))
    rng = np.random.default_rng(seed)
    values = [
        squared_discrepancy(
            real[rng.choice(len(real), size, replace=False)],
            other[rng.choice(len(other), size, replace=False)],
        )
        for _ in range(subsets)
    ]
    return KernelDistance(squared_discrepancy(real, other), float(np.std(values, ddof=1)), size)


def squared_discrepancy(one: Features, two: Features) -> float:
    """Unbiased squared MMD of two sets, [N, F] and [M, F], each of two pictures or more.

    The kernel is (x·y / F + 1)³.
    """
    one, two = one.astype(np.float64), two.astype(np.float64)
    within = (_kernel_sum(values, values) - _self_sum(values) for values in (one, two))
    means = [total / (n * (n - 1)) for total, n in zip(within, (len(one), len(two)), strict=True)]
    return sum(means) - 2.0 * _kernel_sum(one, two) / (len(one) * len(two))


def _kernel_sum(one: Features, two: Features) -> float:
    """Sum of the kernel over all pairs, in blocks, so that memory does not grow as N x M."""
    return sum(
        float(polynomial_kernel(one[rows], two, degree=3).sum())
        for rows in gen_batches(len(one), _BLOCK)
    )


def _self_sum(values: Features) -> float:
    """Sum of the kernel of every picture with itself."""
    return float((((values**2).mean(axis=1) + 1.0) ** 3).sum())


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
