"""Kernel inception distance: how far two sets of pictures are apart, without bias by their size.

Source: Bińkowski, Sutherland, Arbel, Gretton, "Demystifying MMD GANs", arXiv 1801.01401.
torchmetrics has the same kernel, but takes pictures rather than features, in single precision, and
two sets of one size, which the few photographs of a rare kind are not; the tests hold ours against
its formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

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
        std: Its standard deviation over random subsets.
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
        seed: Of the subsets.

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
    within = (_kernel_sum(values, values) - _self_sum(values) for values in (one, two))
    means = [total / (n * (n - 1)) for total, n in zip(within, (len(one), len(two)), strict=True)]
    return sum(means) - 2.0 * _kernel_sum(one, two) / (len(one) * len(two))


def _kernel_sum(one: Features, two: Features) -> float:
    """Sum of the kernel over all pairs, in blocks, so that memory does not grow as N x M."""
    wide = two.astype(np.float64).T
    return sum(
        float(_kernel(one[start : start + _BLOCK].astype(np.float64) @ wide, one.shape[1]).sum())
        for start in range(0, len(one), _BLOCK)
    )


def _self_sum(values: Features) -> float:
    wide = values.astype(np.float64)
    return float(_kernel((wide * wide).sum(axis=1), values.shape[1]).sum())


def _kernel(products: npt.NDArray[np.float64], width: int) -> npt.NDArray[np.float64]:
    result: npt.NDArray[np.float64] = (products / width + 1.0) ** 3
    return result
