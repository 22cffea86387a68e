"""Geometry of the report's charts; the template draws them as SVG."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.classifier.evaluation.results import Confusion, ReliabilityBin

# With fewer answers than this share of the pictures, accuracy is one or two pictures' luck.
_LEAST_COVERAGE = 0.05


@dataclass(frozen=True)
class Cell:
    """One field of a confusion matrix: pictures, and their share of the row's."""

    count: int
    share: float
    right: bool


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix without the classes that neither occur nor are predicted.

    Attributes:
        rows: True labels.
        columns: Predicted labels.
        cells: One list per row.
        unnameable: Rows whose label the bundle has no class for.
    """

    rows: list[str]
    columns: list[str]
    cells: list[list[Cell]]
    unnameable: frozenset[str]


@dataclass(frozen=True)
class CoverageCurve:
    """Accuracy of the surest answers against their share of all pictures.

    Attributes:
        points: Coverage and accuracy, both 0 to 1, by growing coverage.
        floor: Least accuracy of the vertical axis, a multiple of 0.1.
    """

    points: list[tuple[float, float]]
    floor: float


@dataclass(frozen=True)
class Bar:
    """One reliability bin: its place, accuracy, mean confidence, and its share of the answers."""

    low: float
    width: float
    accuracy: float
    confidence: float
    share: float
    count: int


def matrix(confusion: Confusion, unnameable: frozenset[str]) -> Matrix:
    """Prepare a confusion matrix for people."""
    counts = np.asarray(confusion.matrix)
    labels = confusion.labels
    rows = [i for i in range(len(labels)) if counts[i].sum()]
    columns = [
        i
        for i, label in enumerate(labels)
        if label not in unnameable and (counts[i].sum() or counts[:, i].sum())
    ]
    cells = [
        [Cell(int(counts[r, c]), float(counts[r, c] / counts[r].sum()), r == c) for c in columns]
        for r in rows
    ]
    return Matrix([labels[i] for i in rows], [labels[i] for i in columns], cells, unnameable)


def confusions(confusion: Confusion, count: int = 3) -> list[tuple[str, str, int]]:
    """The most frequent mistakes: label, answer, pictures. Single ones are left out."""
    counts = np.asarray(confusion.matrix).copy()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:count]
    places = (np.unravel_index(flat, counts.shape) for flat in order)
    return [
        (confusion.labels[row], confusion.labels[column], int(counts[row, column]))
        for row, column in places
        if counts[row, column] > 1
    ]


def coverage_curve(
    confidence: npt.NDArray[np.float32], correct: npt.NDArray[np.bool_]
) -> CoverageCurve:
    """Accuracy at every coverage that some threshold gives.

    Args:
        confidence: Probability of each answer [N].
        correct: Whether it is right [N].
    """
    order = np.argsort(-confidence, kind="stable")
    given = np.arange(1, len(order) + 1)
    accuracy = np.cumsum(correct[order]) / given
    # Equal confidences are given or withheld together.
    last_of_equal = np.append(confidence[order][1:] < confidence[order][:-1], True)
    coverage = given / len(order)
    kept = last_of_equal & (coverage >= min(_LEAST_COVERAGE, coverage[-1]))
    points = [(float(x), float(y)) for x, y in zip(coverage[kept], accuracy[kept], strict=True)]
    floor = np.floor(min(y for _, y in points) * 10.0) / 10.0
    return CoverageCurve(points, float(min(floor, 0.8)))


def bars(bins: list[ReliabilityBin]) -> list[Bar]:
    """The bins that hold answers."""
    total = sum(part.count for part in bins)
    return [
        Bar(
            part.low,
            part.high - part.low,
            part.accuracy,
            part.confidence,
            part.count / total,
            part.count,
        )
        for part in bins
        if part.accuracy is not None and part.confidence is not None
    ]
