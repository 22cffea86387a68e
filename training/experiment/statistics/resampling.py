"""Draws of test objects: within each class, rescaled so that rare classes vary as they should.

Drawing n of a class's n objects with replacement varies by (n - 1)/n of what it should: half of
it for a class of two. The rescaled bootstrap of survey sampling (Rao and Wu, JASA 83, 1988) draws
n - 1 and counts each n/(n - 1) times, which makes the variance of every stratum right. Drawing
within classes keeps every class in every draw, so that all draws average the same classes.
"""

from __future__ import annotations

import numpy as np

from training.experiment.statistics.answers import FloatArray, IntArray


def object_draws(strata: IntArray, draws: int, seed: int) -> FloatArray:
    """How often each object counts in each draw [draws, G].

    The only object of a class counts once in every draw: it says nothing about how others would
    have fared, and cross-validation never learned its class when it was tested.

    Args:
        strata: The class of each object [G].
        draws: How many.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    weights = np.ones((draws, len(strata)))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        size = len(members)
        if size > 1:
            drawn = rng.multinomial(size - 1, np.full(size, 1.0 / size), size=draws)
            weights[:, members] = drawn * (size / (size - 1))
    return weights
