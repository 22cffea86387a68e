"""Draws of objects, scores of many such draws at once, and the intervals that follow from them.

A photograph is not an independent sample: photographs of one object share its label and mostly
its fate. So whole objects are drawn with replacement (the cluster bootstrap, Field and Welsh,
J. R. Statist. Soc. B 69, 2007), and an interval is the percentile interval (Efron 1979).

Scores that average over classes hang on classes of one or two objects. Plain draws leave such a
class out or repeat what little was seen of it: one object answered rightly is right in every draw.
`smoothed_draws` therefore draws within each class, so that every draw averages the same classes,
and lets each class borrow: its n objects are drawn from its own and from two more that stand in
for the mean of the other classes (as Agresti and Caffo add two observations to each sample, The
American Statistician 54, 2000; a smoothed bootstrap, Efron 1979). A stand-in is an object of
another class with the two labels exchanged. `benchmarks/f1_intervals.py` measures what this is
worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CONFIDENCE: Final = 0.95

BORROWED: Final = 2.0
"""Objects that a class borrows from the others."""

_STAND_INS: Final = 24
"""Objects of other classes among which those are drawn."""


@dataclass(frozen=True)
class Scores:
    """Scores per weighting, each [W]; NaN where a weighting leaves nothing to score."""

    f1_macro: FloatArray
    balanced_accuracy: FloatArray
    accuracy: FloatArray


@dataclass(frozen=True)
class StandIns:
    """Objects that stand in for those of other classes, beside G objects and their N pictures.

    Attributes:
        strata: The class that each of the G + D objects is drawn for; the last D stand in.
        pictures: The picture that each of M added pictures repeats [M].
        objects: The object of each added picture, from G on [M].
        exchanged: The two classes that change places on each added picture [2, M].
    """

    strata: IntArray
    pictures: IntArray
    objects: IntArray
    exchanged: IntArray

    @property
    def count(self) -> int:
        """Stand-ins D."""
        return len(np.unique(self.objects))

    def extend(self, values: FloatArray) -> FloatArray:
        """A number per picture [..., N], those of the added ones after it [..., N + M]."""
        result: FloatArray = np.concatenate([values, values[..., self.pictures]], axis=-1)
        return result

    def extend_labels(self, labels: IntArray) -> IntArray:
        """Class indices of each picture [..., N], the added ones after it [..., N + M]."""
        added = labels[..., self.pictures]
        one, other = self.exchanged
        swapped = np.where(added == one, other, np.where(added == other, one, added))
        result: IntArray = np.concatenate([labels, swapped], axis=-1)
        return result

    def extend_objects(self, objects: IntArray) -> IntArray:
        """The object of each picture [N], those of the added ones after it [N + M]."""
        return np.concatenate([objects, self.objects])


def object_weights(groups: Sequence[str], resamples: int, seed: int) -> tuple[IntArray, FloatArray]:
    """Draw objects with replacement.

    Args:
        groups: Object of each of N pictures.
        resamples: How many draws.
        seed: Of the draws.

    Returns:
        The index of each picture's object [N], and how often each draw holds each object
        [resamples, objects].
    """
    names, index = np.unique(np.asarray(groups, dtype=object), return_inverse=True)
    count = len(names)
    rng = np.random.default_rng(seed)
    if count == 0:
        return index.astype(np.int64), np.zeros((resamples, 0))
    weights = rng.multinomial(count, np.full(count, 1.0 / count), size=resamples)
    return index.astype(np.int64), weights.astype(np.float64)


def choose_stand_ins(
    strata: IntArray, objects: IntArray, eligible: npt.NDArray[np.bool_], seed: int
) -> StandIns:
    """Choose objects that stand in for each class, evenly from the other classes.

    Args:
        strata: The class of each object [G].
        objects: The object of each picture [N].
        eligible: Which classes borrow and lend [C]; not those that can never be answered rightly.
        seed: Of the choice.
    """
    rng = np.random.default_rng(seed)
    members = {int(c): np.flatnonzero(strata == c) for c in np.unique(strata) if eligible[c]}
    borrowers, pictures, added, exchanged = [], [], [], []
    for label in members:
        lenders = rng.permutation([other for other in members if other != label])
        for i in range(_STAND_INS if len(lenders) else 0):
            lender = int(lenders[i % len(lenders)])
            rows = np.flatnonzero(objects == rng.choice(members[lender]))
            pictures.append(rows)
            added.append(np.full(len(rows), len(strata) + len(borrowers)))
            exchanged.append(np.tile([[lender], [label]], len(rows)))
            borrowers.append(label)
    none = np.zeros(0, dtype=np.int64)
    return StandIns(
        np.concatenate([strata, np.asarray(borrowers, dtype=np.int64)]),
        np.concatenate([none, *pictures]),
        np.concatenate([none, *added]),
        np.concatenate([np.zeros((2, 0), dtype=np.int64), *exchanged], axis=1),
    )


def smoothed_draws(stand_ins: StandIns, draws: int, seed: int) -> FloatArray:
    """How often each object and stand-in counts in each draw [draws, G + D].

    A class of n objects has n in every draw.

    Args:
        stand_ins: Of the objects.
        draws: How many.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    strata = stand_ins.strata
    own = np.arange(len(strata)) < len(strata) - stand_ins.count
    weights = np.zeros((draws, len(strata)))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        size = int(own[members].sum())
        others = len(members) - size
        chance = np.where(own[members], 1.0, BORROWED / max(others, 1))
        weights[:, members] = rng.multinomial(size, chance / chance.sum(), size=draws)
    return weights


def macro_draws(
    labels: IntArray,
    predictions: IntArray,
    objects: IntArray,
    named: int,
    *,
    resamples: int,
    seed: int,
) -> Scores:
    """Scores of one task under smoothed draws; F1-macro always averages the same labels.

    Args:
        labels: Known class indices [N].
        predictions: Predicted class indices [N].
        objects: Object of each picture [N].
        named: Classes that the model can answer; labels from there on are always mistaken.
        resamples: How many draws.
        seed: Of the draws.
    """
    if len(labels) == 0:
        nothing = np.full(resamples, np.nan)
        return Scores(nothing, nothing, nothing)
    _, first, index = np.unique(objects, return_index=True, return_inverse=True)
    size = int(max(labels.max(), predictions.max())) + 1
    stand_ins = choose_stand_ins(labels[first], index, np.arange(size) < named, seed)
    weights = smoothed_draws(stand_ins, resamples, seed)
    return scores(
        stand_ins.extend_labels(labels),
        stand_ins.extend_labels(predictions),
        stand_ins.extend_objects(index),
        weights,
        over=np.bincount(np.concatenate([labels, predictions]), minlength=size) > 0,
    )


def totals(weights: FloatArray, objects: IntArray, values: FloatArray) -> FloatArray:
    """Weighted sums over pictures.

    Args:
        weights: Weight per weighting and object [W, G].
        objects: Object of each picture [N].
        values: One number per picture [N].

    Returns:
        Sums [W].
    """
    return weights @ np.bincount(objects, values, minlength=weights.shape[1])


def scores(
    labels: IntArray,
    predictions: IntArray,
    objects: IntArray,
    weights: FloatArray,
    over: npt.NDArray[np.bool_] | None = None,
) -> Scores:
    """F1-macro, balanced accuracy and accuracy under each weighting of the objects.

    Each equals what scikit-learn computes from pictures repeated as often as their object's
    weight: F1-macro over the labels that occur or are predicted, balanced accuracy over those
    that occur.

    Args:
        labels: Known class indices [N].
        predictions: Predicted class indices [N].
        objects: Object of each picture [N].
        weights: Weight per weighting and object [W, G].
        over: The labels that F1-macro averages over [C], where not those of each weighting.
    """
    if len(labels) == 0:
        nothing = np.full(len(weights), np.nan)
        return Scores(nothing, nothing, nothing)
    size = int(max(labels.max(), predictions.max())) + 1
    occurring, predicted, correct = class_totals(labels, predictions[None], objects, weights, size)
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = 2.0 * correct[0] / (occurring + predicted[0])
        recall = correct[0] / occurring
        accuracy = correct[0].sum(axis=1) / occurring.sum(axis=1)
    f1_macro = _mean_of_defined(f1) if over is None else np.nan_to_num(f1)[:, over].mean(axis=1)
    return Scores(f1_macro, _mean_of_defined(recall), accuracy)


def class_totals(
    truth: IntArray, predicted: IntArray, objects: IntArray, weights: FloatArray, classes: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weighted pictures that have each class, are answered so, and rightly.

    Args:
        truth: Class indices [N].
        predicted: Class indices of S models [S, N].
        objects: Object of each picture [N].
        weights: Weight per weighting and object [W, G].
        classes: Their number C.

    Returns:
        [W, C], [S, W, C] and [S, W, C].
    """
    right = np.where(predicted == truth, truth, -1)
    occurring = weights @ _by_object(truth[None], objects, weights.shape[1], classes)
    answered, correct = (
        (weights @ _by_object(values, objects, weights.shape[1], classes))
        .reshape(len(weights), len(predicted), classes)
        .transpose(1, 0, 2)
        for values in (predicted, right)
    )
    return occurring, answered, correct


def interval(values: FloatArray) -> tuple[float, float] | None:
    """The central 95 % of bootstrap values; None where none is defined."""
    defined = values[~np.isnan(values)]
    if len(defined) == 0:
        return None
    tail = 100.0 * (1.0 - CONFIDENCE) / 2.0
    low, high = np.percentile(defined, [tail, 100.0 - tail])
    return float(low), float(high)


def _by_object(classes: IntArray, objects: IntArray, count: int, size: int) -> FloatArray:
    """Pictures per object, model and class [G, S * C] of class indices [S, N]; -1 is left out."""
    models = len(classes)
    cells = (objects * models + np.arange(models)[:, None]) * size + classes
    counts = np.bincount(cells[classes >= 0], minlength=count * models * size)
    return counts.reshape(count, models * size).astype(np.float64)


def _mean_of_defined(values: FloatArray) -> FloatArray:
    defined = ~np.isnan(values)
    count = defined.sum(axis=1)
    total = np.where(defined, values, 0.0).sum(axis=1)
    result: FloatArray = np.full(len(values), np.nan)
    np.divide(total, count, out=result, where=count > 0)
    return result
