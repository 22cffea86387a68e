r"""Do label sets hold the true label as often as they say? On the folds of `real_photographs`.

Each fold's model sets its limits on its validation photographs and is judged on its test
photographs, so that every photograph is tested once. The trained folds are read, not trained.

    python -m benchmarks.label_sets --data PHOTOS --folds runs/real
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest

from porcelain.conformal import calibration_scores, has_own_limit, limits, members
from training.classifier.bundling import Fitted
from training.classifier.calibration import apply_temperature, fit_temperature
from training.classifier.pipeline import fit
from training.classifier.settings import TrainSettings

COVERAGES = (0.8, 0.9, 0.95)
LEAST_PICTURES = 20
"""Of a class in all test parts together, to judge its coverage."""


@dataclass(frozen=True)
class Tested:
    """One task of one fold, known labels only.

    Attributes:
        labels: The true labels [N].
        held: Whether the set holds it [N].
        sizes: Labels in the set [N].
        own: Whether the true label's class has a limit of its own [N].
    """

    labels: npt.NDArray[np.str_]
    held: npt.NDArray[np.bool_]
    sizes: npt.NDArray[np.int64]
    own: npt.NDArray[np.bool_]


def sets_of(fitted: Fitted, task: str, coverage: float) -> Tested:
    """Judge one task of one fold's model."""
    names = fitted.classes[task]
    column = list(fitted.classes).index(task)
    validation, test = fitted.pictures["validation"], fitted.pictures["test"]
    known = validation.labels[:, column].numpy()
    logits = fitted.trained.predict(validation.pictures)[task]
    temperature = fit_temperature(logits, known)
    scores = calibration_scores(apply_temperature(logits, temperature), known, names)
    answers = apply_temperature(fitted.trained.predict(test.pictures)[task], temperature)
    chosen = members(answers, limits(scores, names, coverage))
    labels = np.array([record.labels[task] or "" for record in test.records])
    index = {name: i for i, name in enumerate(names)}
    # A label that the fold's model never saw is in no set.
    held = np.array(
        [label in index and row[index[label]] for label, row in zip(labels, chosen, strict=True)]
    )
    own = np.array([has_own_limit(scores, label, coverage) for label in labels])
    there = labels != ""
    return Tested(labels[there], held[there], chosen.sum(axis=1)[there], own[there])


def main(
    data: Annotated[Path, typer.Option(help="Dataset folder.")],
    folds: Annotated[Path, typer.Option(help="What benchmarks.real_photographs left.")],
) -> None:
    """Print coverage and size of label sets per task, over all test photographs of all folds."""
    trained = []
    for work in sorted(folds.glob("work-*")):
        settings = json.loads((work / "settings.json").read_text())["settings"]
        split = folds / f"split-{work.name.removeprefix('work-')}.json"
        trained.append(fit(data, work, TrainSettings(**settings), split=split))
    table = Table(
        "task", "stated", "held, 95 % interval", "folds", "labels in a set", "only one",
        "classes with own limit", "other classes", "worst class", title=f"{len(trained)} folds",
    )  # fmt: skip
    for task in trained[0].classes:
        for coverage in COVERAGES:
            parts = [sets_of(fitted, task, coverage) for fitted in trained]
            table.add_row(task, f"{coverage:.0%}", *_cells(parts))
    Console(width=160).print(table)


def _cells(parts: list[Tested]) -> list[str]:
    labels, held, sizes, own = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("labels", "held", "sizes", "own")
    )
    by_fold = [part.held.mean() for part in parts]
    names, counts = np.unique(labels, return_counts=True)
    judged = {name: held[labels == name].mean() for name in names[counts >= LEAST_PICTURES]}
    worst = min(judged, key=lambda name: judged[name])
    return [
        _share(held),
        f"{min(by_fold):.0%} to {max(by_fold):.0%}",
        f"{sizes.mean():.2f}",
        f"{(sizes == 1).mean():.0%}",
        _share(held[own]),
        _share(held[~own]),
        f"{worst} {judged[worst]:.0%} of {(labels == worst).sum()}",
    ]


def _share(held: npt.NDArray[np.bool_]) -> str:
    if len(held) == 0:
        return "-"
    # Exact (Clopper and Pearson): shares are near 1.
    low, high = binomtest(int(held.sum()), len(held)).proportion_ci()
    return f"{held.mean():.1%} ({low:.1%} to {high:.1%}) of {len(held)}"


if __name__ == "__main__":
    typer.run(main)
