"""Intervals for a mean over seeds of a score of test objects, both of them drawn from many.

Every seed answers the same objects, so the design is crossed: a hard object is hard in each seed,
and a lucky seed is lucky on many objects. Resampling predictions as if they were independent, or
seeds alone, or objects alone, gives intervals that are too short. Resampling both and multiplying
the weights (the pigeonhole bootstrap: Owen, Annals of Applied Statistics 1, 2007) counts what
belongs to single answers three times, and no bootstrap of a crossed design is exact (McCullagh,
Bernoulli 6, 2000).

This is the design of reader studies in radiology: readers are the seeds, cases the objects. Their
analysis (Obuchowski and Rockette, Communications in Statistics 24, 1995) splits the variance of
the mean of S seeds exactly into

    Var(seeds) / S  +  Cov(two seeds, through the objects that they share).

The first is the sample variance of the S scores. The second is the mean covariance of two seeds'
scores over bootstrap draws of the objects (`resampling`). A t quantile replaces the normal one,
with Satterthwaite's degrees of freedom: S - 1 for the first part (Hillis, Statistics in Medicine
26, 2007), and for the second those of a stratified sample (Cochran, Sampling Techniques, 1977,
5.16), so that a result that hangs on two objects is not mistaken for one that hangs on hundreds.
`tests/training/experiment/test_coverage.py` measures how often these intervals hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from training.experiment.statistics.answers import FloatArray, IntArray

CONFIDENCE = 0.95
_PLENTY = 1e6


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        value: The mean.
        low: Lower end of its 95 % interval; None with a single seed.
        high: Upper end.
        standard_error: Over seeds and objects.
        degrees: Of freedom.
        from_seeds: Variance of the mean that comes from seeds.
        from_objects: Variance of the mean that comes from objects.
    """

    value: float
    low: float | None
    high: float | None
    standard_error: float | None
    degrees: float | None
    from_seeds: float
    from_objects: float

    def at(self, confidence: float) -> tuple[float, float] | None:
        """Both ends of the interval of another confidence."""
        if self.standard_error is None or self.degrees is None:
            return None
        half = float(stats.t.ppf(0.5 + confidence / 2.0, self.degrees)) * self.standard_error
        return self.value - half, self.value + half


def crossed_mean(
    scores: FloatArray, draws: FloatArray, weights: FloatArray, objects: IntArray
) -> Estimate:
    """The mean over seeds of a weighted sum of classes' scores, with its interval.

    Args:
        scores: Per seed and class [S, C].
        draws: The same under B draws of the objects [S, B, C].
        weights: Of the classes [C].
        objects: Objects of each class [C].
    """
    seeds = len(scores)
    values, drawn = scores @ weights, draws @ weights
    if seeds < 2:
        return Estimate(float(values.mean()), None, None, None, None, 0.0, 0.0)
    covariance = np.cov(drawn)
    shared = (covariance.sum() - np.trace(covariance)) / (seeds * (seeds - 1))
    from_seeds, from_objects = float(values.var(ddof=1)) / seeds, max(float(shared), 0.0)
    variance = from_seeds + from_objects
    spread = from_seeds**2 / (seeds - 1)
    spread += from_objects**2 / _object_degrees(draws.mean(axis=0) * weights, objects)
    degrees = min(variance**2 / spread, _PLENTY) if spread > 0 else _PLENTY
    estimate = Estimate(
        float(values.mean()), None, None, variance**0.5, degrees, from_seeds, from_objects
    )
    low, high = estimate.at(CONFIDENCE) or (None, None)
    return Estimate(estimate.value, low, high, variance**0.5, degrees, from_seeds, from_objects)


def _object_degrees(drawn: FloatArray, objects: IntArray) -> float:
    """Satterthwaite's for a sum over classes; each varies with its own objects above all.

    Args:
        drawn: What each class adds, averaged over seeds, per draw [B, C].
        objects: Objects of each class [C].
    """
    parts = drawn.var(axis=0)
    spread = (parts**2 / np.maximum(objects - 1, 1)).sum()
    return float(parts.sum() ** 2 / spread) if spread > 0 else _PLENTY
