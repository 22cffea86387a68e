"""Several photographs of one object, answered together.

Per task the photographs' log-probabilities are averaged and made probabilities again: the
logarithmic opinion pool with equal weights (Genest and Zidek, Combining Probability Distributions,
Statistical Science 1(1), 1986). A label that one view rules out is ruled out, which a mean of
probabilities would forget. They are not summed, as those of independent witnesses would be: views
of one object share its look, and what misleads the model in one misleads it in the next.
`benchmarks/object_views.py` compares the rules.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from porcelain.predictor import Outputs

FloatArray = npt.NDArray[np.float32]


class Pool:
    """One task's answer to all views, from those to each, which may come one after another."""

    def __init__(self) -> None:
        self._sum: npt.NDArray[np.float64] | float = 0.0
        self._views = 0

    def add(self, probabilities: npt.NDArray[np.floating]) -> None:
        """Take the answers to further views [views, classes]."""
        logarithms = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
        self._sum = self._sum + logarithms.sum(axis=0, dtype=np.float64)
        self._views += len(probabilities)

    def result(self) -> FloatArray:
        """The answer to all [classes]; there must be one."""
        logarithms = np.asarray(self._sum) / self._views
        shares = np.exp(logarithms - logarithms.max())
        pooled: FloatArray = (shares / shares.sum()).astype(np.float32)
        return pooled


def pool(probabilities: npt.NDArray[np.floating]) -> FloatArray:
    """One task's answer to all views [classes] from that to each [views, classes]."""
    views = Pool()
    views.add(probabilities)
    return views.result()


def pool_views(views: Sequence[Outputs]) -> Outputs:
    """The probabilities of one object, as those of one picture.

    Args:
        views: At least one, each of one or more pictures of the object.
    """
    tasks = views[0].probabilities
    rows = {task: np.concatenate([view.probabilities[task] for view in views]) for task in tasks}
    return Outputs({task: pool(row)[np.newaxis] for task, row in rows.items()})
