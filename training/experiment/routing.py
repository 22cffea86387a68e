"""Which ratio serves a task best, as validation pictures say; test pictures are not looked at.

The measure is the balanced log loss: with a hundred validation pictures and classes of one or two
among them, F1-macro moves in steps too coarse to choose by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from training.experiment.measuring import truth_losses

FloatArray = npt.NDArray[np.float64]


def choose_ratios(
    predictions: Mapping[float, pa.Table], tasks: Sequence[str], margin: float = 0.0
) -> dict[str, float]:
    """The ratio whose added pictures are to count, per task; 0 where none helps.

    Args:
        predictions: Rows of `records.PREDICTIONS` of one seed and fold, per ratio; 0 is real
            pictures alone.
        tasks: The tasks.
        margin: How many standard errors better than real pictures alone a ratio must be.

    Returns:
        Per task the ratio with the least balanced log loss on validation; of equals the lower.
    """
    chosen = {}
    for task in tasks:
        tables = {ratio: _validation(table, task) for ratio, table in predictions.items()}
        losses = {ratio: _losses(table) for ratio, table in tables.items()}
        weights = _class_weights(tables[0.0])
        best, gain = 0.0, 0.0
        for ratio in sorted(losses.keys() - {0.0}):
            difference = losses[0.0] - losses[ratio]
            mean = float((weights * difference).sum())
            error = float(np.sqrt((weights**2 * (difference - mean) ** 2).sum()))
            if mean > margin * error and mean > gain + 1e-12:
                best, gain = ratio, mean
        chosen[task] = best
    return chosen


def _validation(table: pa.Table, task: str) -> pa.Table:
    """Labelled validation answers to a task, by picture."""
    wanted = pc.and_(
        pc.and_(pc.equal(table["split"], "validation"), pc.equal(table["task"], task)),
        pc.is_valid(table["truth"]),
    )
    return table.filter(wanted).sort_by("file_name")


def _losses(table: pa.Table) -> FloatArray:
    truth = table["probability_of_truth"].to_numpy()
    return truth_losses(truth[:, None], np.zeros(len(truth), dtype=np.int64))


def _class_weights(table: pa.Table) -> FloatArray:
    """Weights [N] that add to 1 and give every class that occurs the same."""
    _, index, counts = np.unique(
        table["truth"].to_numpy(zero_copy_only=False), return_inverse=True, return_counts=True
    )
    if len(counts) == 0:
        return np.zeros(0)
    return 1.0 / (len(counts) * counts[index])
