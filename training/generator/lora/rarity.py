"""Rare kinds are seen more often: how often each picture is shown, and in which order.

The rule. A label that n training pictures carry asks for the weight n ** -power, and a picture has
the largest weight that any of its labels asks for: being rare in one task is enough. With the
default power of 1/2, a kind with a hundredth of another's pictures is seen a tenth as often as that
one rather than a hundredth, and each of its pictures ten times as often. A picture without any
label has the weight of one whose label everything carries.

The order is an endless row of epochs, each as long as there are pictures. In each, a picture
appears its expected number of times, rounded up or down at random (systematic sampling: Madow,
Annals of Mathematical Statistics 20, 1949), so that no kind is missed by bad luck; equal weights
make an epoch a plain permutation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from porcelain.dataset import Record
from porcelain.vocabulary import TASKS

Indices = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float64]


def rarity_weights(records: Sequence[Record], power: float) -> Weights:
    """How often each picture is shown, as shares that add to 1.

    Args:
        records: The training pictures.
        power: 0 shows all alike; 1 balances the labels of a task, if it were the only one.
    """
    weights = np.full(len(records), float(max(1, len(records))) ** -power)
    for task in TASKS:
        labels = [record.labels.get(task) for record in records]
        counts = Counter(labels)
        asked = [0.0 if label is None else counts[label] ** -power for label in labels]
        weights = np.maximum(weights, asked)
    shares: Weights = weights / weights.sum()
    return shares


class Order:
    """Which pictures make up each batch: a function of the shares, the seed and the step."""

    def __init__(self, shares: Weights, seed: int) -> None:
        """Order pictures that are to be shown by their `shares`."""
        self._expected = shares * len(shares)
        self._seed = seed
        self._epochs: dict[int, Indices] = {}

    def batch(self, step: int, size: int) -> Indices:
        """Indices [size] of the batch of a step, from 0; it may reach over an epoch's end."""
        count = len(self._expected)
        first, last = step * size, (step + 1) * size
        epochs = range(first // count, (last - 1) // count + 1)
        # Steps are asked for in order: earlier epochs do not come back.
        self._epochs = {e: self._epochs[e] if e in self._epochs else self._epoch(e) for e in epochs}
        row = np.concatenate([self._epochs[epoch] for epoch in epochs])
        return row[first - epochs[0] * count : last - epochs[0] * count]

    def _epoch(self, epoch: int) -> Indices:
        random = np.random.default_rng([self._seed, epoch])
        count = len(self._expected)
        # Shuffled first: neighbours share the rounding.
        shuffled = random.permutation(count)
        ends = np.round(np.cumsum(self._expected[shuffled]), 9)  # whole where sums of floats miss
        ends[-1] = count
        marks = np.floor(ends + random.random()).astype(np.int64)
        times = np.diff(marks, prepend=0)
        order: Indices = random.permutation(np.repeat(shuffled, times))
        return order
