"""In which order pictures are reviewed: the least certain and the most different first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
FLOOR: Final = 0.05
"""What a picture like one already chosen keeps of its turn, so that doubt still sorts those."""


def doubt(answer: Mapping[str, Any]) -> float:
    """Mean over tasks of the entropy of the probabilities, from 0 (sure) to 1 (anything)."""
    values = []
    for prediction in answer["predictions"].values():
        chances = np.array([one["probability"] for one in prediction["top"]], dtype=np.float64)
        if len(chances) < 2:
            values.append(1.0 - float(chances.sum()))
            continue
        chances = np.clip(chances, 1e-12, 1.0)
        values.append(float(-(chances * np.log(chances)).sum() / math.log(len(chances))))
    return sum(values) / len(values) if values else 0.0


def review_order(answers: Sequence[Mapping[str, Any]]) -> list[int]:
    """Places of the answers, those from which most can be learned first.

    Greedy: each next picture has the largest product of its doubt and its distance from those
    before it (Hellinger, between what the model answers), so that ten views of one puzzling bowl
    do not stand before everything else.
    """
    if not answers:
        return []
    doubts = np.array([doubt(one) for one in answers])
    points = _points(answers)
    distance = np.ones(len(answers))
    left = set(range(len(answers)))
    order: list[int] = []
    while left:
        chosen = max(left, key=lambda i: (doubts[i] * (FLOOR + distance[i]), -i))
        order.append(chosen)
        left.remove(chosen)
        distance = np.minimum(distance, _distances(points, chosen))
    return order


def _points(answers: Sequence[Mapping[str, Any]]) -> FloatArray:
    """Square roots of every label's probability [N, labels of all tasks]."""
    columns: dict[tuple[str, str], int] = {}
    for answer in answers:
        for task, prediction in answer["predictions"].items():
            for one in prediction["top"]:
                columns.setdefault((task, one["label"]), len(columns))
    points = np.zeros((len(answers), max(1, len(columns))))
    for row, answer in enumerate(answers):
        for task, prediction in answer["predictions"].items():
            for one in prediction["top"]:
                points[row, columns[task, one["label"]]] = math.sqrt(max(0.0, one["probability"]))
        points[row] /= math.sqrt(max(1, len(answer["predictions"])))
    return points


def _distances(points: FloatArray, chosen: int) -> FloatArray:
    apart: FloatArray = np.linalg.norm(points - points[chosen], axis=1) / math.sqrt(2)
    return apart
