r"""Are several photographs of one object answered better together than one by one?

On objects that the bundle has not learned from, with the same number of views each:

    porcelain data render --out views --count 720 --views 3 --seed 41
    python -m benchmarks.object_views --bundle DIR --data views
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.table import Table

from porcelain.bundle import load_bundle
from porcelain.dataset import load_dataset
from porcelain.predictor import Predictor
from porcelain.views import pool
from training.classifier.evaluation.inference import answer
from training.classifier.evaluation.metrics import f1_macro
from training.classifier.evaluation.reliability import calibration_error, reliability_bins

Probabilities = npt.NDArray[np.floating]
Rule = Callable[[Probabilities], Probabilities]
"""From all views [views, classes] to one answer [classes]."""

RESAMPLES = 2000


def _total(views: Probabilities) -> Probabilities:
    """Views as independent witnesses: the product of their probabilities."""
    logarithms = np.log(np.maximum(views, 1e-38)).sum(axis=0)
    shares: Probabilities = np.exp(logarithms - logarithms.max())
    return shares / shares.sum()


def _surest(views: Probabilities) -> Probabilities:
    chosen: Probabilities = views[views.max(axis=1).argmax()]
    return chosen


RULES: dict[str, Rule] = {
    "mean of log-probabilities (used)": pool,
    "sum of log-probabilities": _total,
    "mean of probabilities": lambda views: views.mean(axis=0),
    "the surest view": _surest,
}


def main(
    bundle: Annotated[Path, typer.Option(help="Classifier bundle.")],
    data: Annotated[Path, typer.Option(help="Dataset folder with several pictures per object_id.")],
) -> None:
    """Print F1-macro, accuracy, log loss and calibration error of single and joined views."""
    loaded = load_bundle(bundle, "classifier")
    predictor = Predictor(loaded)
    dataset = load_dataset(data)
    objects: dict[str, list[int]] = {}
    for index, record in enumerate(dataset.records):
        objects.setdefault(record.object_id or record.file_name, []).append(index)
    most = max(map(len, objects.values()))
    whole = np.array([views for views in objects.values() if len(views) == most])
    answers = answer(predictor, [dataset.path(record) for record in dataset.records])
    if answers.unreadable:
        raise typer.BadParameter("some pictures cannot be read", param_hint="--data")
    console = Console(width=150)
    console.print(f"{len(whole)} objects with {most} photographs each")
    for task, names in loaded.classifier.labels.items():
        index = {name: i for i, name in enumerate(names)}
        truth = np.array([index.get(dataset.records[v[0]].labels[task] or "", -1) for v in whole])
        known = truth >= 0
        console.print(_table(task, answers.probabilities[task][whole[known]], truth[known]))


def _table(task: str, views: Probabilities, truth: npt.NDArray[np.int64]) -> Table:
    """Scores of every rule; `views` are [objects, views, classes]."""
    table = Table("views", "rule", "F1-macro", "accuracy", "gain, 95 %", "log loss", "ECE")
    table.title = f"{task}, {len(truth)} objects"
    count = views.shape[1]
    table.add_row("1", "each alone", *_scores(views, truth, [(v,) for v in range(count)], _surest))
    for used in range(2, count + 1):
        for name, rule in RULES.items():
            chosen = list(combinations(range(count), used))
            table.add_row(str(used), name, *_scores(views, truth, chosen, rule))
    return table


def _scores(
    views: Probabilities,
    truth: npt.NDArray[np.int64],
    chosen: list[tuple[int, ...]],
    rule: Rule,
) -> list[str]:
    """Means over all choices of views, so that every photograph counts alike."""
    joined = np.array([[rule(one[list(some)]) for one in views] for some in chosen])
    right = joined.argmax(axis=2) == truth
    alone = views.argmax(axis=2) == truth[:, np.newaxis]
    # Objects are drawn anew; both answers are about the same ones.
    gains = right.mean(axis=0) - alone.mean(axis=1)
    draws = np.random.default_rng(0).integers(0, len(truth), (RESAMPLES, len(truth)))
    low, high = np.percentile(gains[draws].mean(axis=1), [2.5, 97.5])
    f1 = np.mean([f1_macro(truth, one.argmax(axis=1)) for one in joined])
    loss = -np.log(np.maximum(joined[:, np.arange(len(truth)), truth], 1e-12)).mean()
    errors = [
        calibration_error(reliability_bins(one.max(axis=1), hit)) or 0.0
        for one, hit in zip(joined, right, strict=True)
    ]
    return [
        f"{f1:.3f}",
        f"{right.mean():.3f}",
        f"{gains.mean():+.3f} ({low:+.3f} to {high:+.3f})",
        f"{loss:.3f}",
        f"{np.mean(errors):.3f}",
    ]


if __name__ == "__main__":
    typer.run(main)
