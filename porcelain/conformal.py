"""Label sets that hold the true label with a stated chance, calibrated on validation pictures.

Split conformal prediction with the score 1 - p(label). A label belongs to the set within the limit
of all calibration pictures, which gives the chance over all pictures, or within that of its own
class where it has enough of them, which gives it within the class; so the chance holds for both.
What is too rare for a limit of its own has no promise of its own.
Sources: Sadinle, Lei and Wasserman, Least Ambiguous Set-Valued Classifiers (arXiv 1609.00451);
Angelopoulos and Bates, A Gentle Introduction to Conformal Prediction (arXiv 2107.07511, 4.1).
`benchmarks/label_sets.py` measures it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

DEFAULT_COVERAGE: Final = 0.9
LEAST_COVERAGE: Final = 0.5
LARGEST_COVERAGE: Final = 0.99

Scores = Mapping[str, Sequence[float]]
"""Per label, 1 - p(label) of the calibration pictures that have it."""


def calibration_scores(
    probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], names: Sequence[str]
) -> dict[str, list[float]]:
    """What a bundle keeps for one task.

    Args:
        probabilities: Calibrated [N, classes].
        labels: Class indices [N]; -1 is unknown and left out.
        names: Labels in index order.
    """
    return {
        name: sorted(round(float(1 - p), 6) for p in probabilities[labels == index, index])
        for index, name in enumerate(names)
    }


def has_own_limit(scores: Scores, name: str, coverage: float) -> bool:
    """Whether a class has enough calibration pictures for a limit of its own."""
    return _quantile(scores.get(name, ()), coverage) is not None


def limits(scores: Scores, names: Sequence[str], coverage: float) -> npt.NDArray[np.float64]:
    """The largest 1 - p with which each label still belongs to the set [classes].

    1 where even all calibration pictures of the task are too few: every label then belongs.
    """
    common = _quantile([score for values in scores.values() for score in values], coverage)
    if common is None:
        return np.ones(len(names))
    own = (_quantile(scores.get(name, ()), coverage) for name in names)
    return np.asarray([max(common, limit or 0.0) for limit in own])


def members(
    probabilities: npt.NDArray[np.floating], within: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Which labels belong to each picture's set; the most probable one always does [N, classes].

    Args:
        probabilities: Calibrated [N, classes].
        within: From `limits`.
    """
    # The bundle's scores have six digits.
    chosen = 1 - probabilities.astype(np.float64) <= within + 1e-6
    chosen[np.arange(len(chosen)), probabilities.argmax(axis=1)] = True
    return chosen


def label_sets(
    probabilities: npt.NDArray[np.floating], names: Sequence[str], within: npt.NDArray[np.float64]
) -> list[list[str]]:
    """Each picture's labels, the most probable first; never empty.

    Args:
        probabilities: Calibrated [N, classes].
        names: Labels in index order.
        within: From `limits`.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    chosen = members(probabilities, within)
    return [
        [names[index] for index in best if belongs[index]]
        for best, belongs in zip(order, chosen, strict=True)
    ]


def _quantile(scores: Sequence[float], coverage: float) -> float | None:
    """The ceil((n + 1) coverage)-th smallest score; None where n is too small for it."""
    rank = int(np.ceil((len(scores) + 1) * coverage - 1e-9))
    return None if rank > len(scores) else sorted(scores)[rank - 1]
