"""Label sets that hold the true label with a stated chance, calibrated on validation pictures.

Split conformal prediction with the score 1 - p(label), class-conditional where a class has enough
calibration pictures for the coverage asked, over all classes of the task together elsewhere.
Sources: Sadinle, Lei and Wasserman, Least Ambiguous Set-Valued Classifiers (arXiv 1609.00451);
Angelopoulos and Bates, A Gentle Introduction to Conformal Prediction (arXiv 2107.07511, 4.1).
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


def limits(scores: Scores, names: Sequence[str], coverage: float) -> npt.NDArray[np.float64]:
    """The largest 1 - p with which each label still belongs to the set [classes].

    1 where even all calibration pictures of the task are too few: every label then belongs.
    """
    pooled = [score for values in scores.values() for score in values]
    common = _quantile(pooled, coverage)
    own = [_quantile(scores.get(name, ()), coverage) for name in names]
    values = [common if value is None else value for value in own]
    return np.asarray([1.0 if value is None else value for value in values])


def label_set(
    probabilities: npt.NDArray[np.floating], names: Sequence[str], within: npt.NDArray[np.float64]
) -> list[str]:
    """The labels of one picture's set, the most probable first; never empty.

    Args:
        probabilities: Calibrated [classes].
        names: Labels in index order.
        within: From `limits`.
    """
    order = np.argsort(-probabilities, kind="stable")
    # The bundle's scores have six digits.
    chosen = [names[i] for i in order if 1 - probabilities[i] <= within[i] + 1e-6]
    return chosen or [names[order[0]]]


def _quantile(scores: Sequence[float], coverage: float) -> float | None:
    """The ceil((n + 1) coverage)-th smallest score; None where n is too small for it."""
    rank = int(np.ceil((len(scores) + 1) * coverage - 1e-9))
    return None if rank > len(scores) else sorted(scores)[rank - 1]
