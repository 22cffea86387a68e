r"""How often the 95 % intervals of `classifier evaluate` hold the classifier's own F1-macro.

Test sets are made up, so that the truth is known: class counts of real long-tailed collections,
stratified as `data split` does or drawn at random, a classifier whose recall falls with the class,
mistakes that favour some classes. The truth is the F1-macro of infinitely many objects in the test
set's own proportions, over the labels that the test set's score averages over. Printed are the
share of intervals that hold it and their mean width, for plain draws of objects and for those that
`evaluate` uses (`training.classifier.evaluation.bootstrap.smoothed_draws`).

    python -m benchmarks.f1_intervals --trials 600
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from scipy.special import ndtr

from training.classifier.evaluation.bootstrap import (
    FloatArray,
    IntArray,
    interval,
    macro_draws,
    object_weights,
    scores,
)

COLLECTIONS: Final = {
    "glaze": (373, 214, 203, 86, 40, 39, 23, 11, 10, 10, 9, 6, 4, 2),
    "type": (416, 206, 163, 56, 43, 35, 34, 18, 16, 14, 11, 9, 9),
    "dynasty": (213, 209, 208, 176, 171, 53),
}
SIZES: Final = (103, 206, 515)


def confusion(counts: IntArray, rng: np.random.Generator, recall: float | None) -> FloatArray:
    """Share of each class's objects that is answered with each class [C, C].

    Args:
        counts: Objects of each class in the collection.
        rng: Of the classifier.
        recall: Of every class; None lets it fall with the class's size, to half for the rarest.
    """
    easiness = np.clip(4.8 * np.log(counts) - 10.0, -3.0, 12.0)
    drawn = ndtr((easiness + rng.normal(0.0, 1.8, len(counts))) / 9.1)
    recalls = drawn if recall is None else np.full(len(counts), recall)
    mistakes = counts / counts.sum() * rng.gamma(0.5, 1.0, (len(counts), len(counts)))
    np.fill_diagonal(mistakes, 0.0)
    mistakes *= ((1.0 - recalls) / mistakes.sum(axis=1))[:, None]
    result: FloatArray = mistakes + np.diag(recalls)
    return result


def stratified(counts: IntArray, size: int) -> IntArray:
    """A test set's class counts, as near to the collection's as whole objects allow."""
    exact = counts / counts.sum() * size
    whole = np.floor(exact).astype(np.int64)
    whole[np.argsort(whole - exact, kind="stable")[: size - whole.sum()]] += 1
    return whole


def trials(
    counts: IntArray, size: int, count: int, *, random: bool = False, recall: float | None = None
) -> Iterator[tuple[bool, float, bool, float]]:
    """Made-up test sets: whether plain and smoothed draws hold the truth, and their widths."""
    rng = np.random.default_rng(size)
    for seed in range(count):
        table = confusion(counts, rng, recall)
        drawn = rng.multinomial(size, counts / counts.sum()) if random else stratified(counts, size)
        labels = np.repeat(np.arange(len(counts)), drawn)
        chances = table.cumsum(axis=1)[labels]
        predictions = (rng.random(size)[:, None] > chances).sum(axis=1).clip(0, len(counts) - 1)
        expected = table * drawn[:, None]
        f1 = 2.0 * np.diag(expected) / np.maximum(drawn + expected.sum(axis=0), 1e-12)
        truth = f1.sum() / len(np.union1d(labels, predictions))
        objects, weights = object_weights([str(i) for i in range(size)], 500, seed)
        plain = interval(scores(labels, predictions, objects, weights).f1_macro) or (0.0, 0.0)
        smoothed = interval(
            macro_draws(
                labels, predictions, objects, len(counts), resamples=500, seed=seed
            ).f1_macro
        ) or (0.0, 0.0)
        yield (
            plain[0] <= truth <= plain[1],
            plain[1] - plain[0],
            smoothed[0] <= truth <= smoothed[1],
            smoothed[1] - smoothed[0],
        )


def main(
    count: Annotated[int, typer.Option("--trials", min=20, help="Test sets per row.")] = 600,
) -> None:
    """Measure coverage and width."""
    table = Table("test set", "classes", "objects", "plain draws", "width", "smoothed", "width")
    kinds = {
        "stratified": {},
        "at random": {"random": True},
        "recall .97 everywhere": {"recall": 0.97},
    }
    for name, kind in kinds.items():
        for collection, counts in COLLECTIONS.items():
            for size in SIZES:
                found = np.mean(list(trials(np.asarray(counts), size, count, **kind)), axis=0)
                cells = [f"{100 * found[0]:.1f} %", f"{100 * found[1]:.1f}"]
                cells += [f"{100 * found[2]:.1f} %", f"{100 * found[3]:.1f}"]
                table.add_row(name, collection, str(size), *cells)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
