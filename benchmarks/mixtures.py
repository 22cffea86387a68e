r"""Which members should answer together? Mixtures of those that `benchmarks.members` trained.

In each fold a mixture averages its members' logits, has a share of the log priors taken off, and is
calibrated by one temperature per task on the fold's validation photographs. The test photographs
of all folds that have every member named are judged together. Changes are from the first mixture,
with 95 % intervals: of log loss from drawing photographs with replacement, the same for both and
for all tasks; of F1-macro from `macro_draws`, task by task.

    python -m benchmarks.mixtures --logits runs/members/logits \
        --mixture P-0,P-1,P-2@0.5 --mixture P-0,P-1,P-2@0.25 --mixture P-0,D30-1,D30-2@0.25

A mixture is its members, then the share after an @.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from sklearn.metrics import f1_score

from benchmarks.calibration import FloatArray, IntArray, folds_with, read_part, shifted
from training.classifier.evaluation.bootstrap import macro_draws

DRAWS: Final = 2000
SEED: Final = 0


@dataclass(frozen=True)
class Answers:
    """What a mixture says of one task, over the N test photographs that have a label.

    Attributes:
        photographs: The place of each among all test photographs [N].
        labels: Class indices [N]; the classes that some fold learned come first.
        predicted: The most probable class of each [N].
        losses: Minus the log probability of the label [N].
        named: Classes that some fold learned.
    """

    photographs: IntArray
    labels: IntArray
    predicted: IntArray
    losses: FloatArray
    named: int


def main(
    logits: Annotated[Path, typer.Option(help="Folder with the folds' npz files.")],
    mixture: Annotated[list[str], typer.Option(help="Members@share; the first is compared with.")],
) -> None:
    """Print log loss, F1-macro and accuracy per task, and their changes."""
    mixtures = {
        text: (text.split("@")[0].split(","), float(text.split("@")[1])) for text in mixture
    }
    needed = sorted({member for members, _ in mixtures.values() for member in members})
    folds = folds_with(logits, needed)
    answers = {text: _answers(logits, folds, *found) for text, found in mixtures.items()}
    first = answers[mixture[0]]
    table = Table(
        "mixture", "task", "log loss", "change, %", "F1-macro", "change, points", "accuracy",
        title=f"folds {', '.join(map(str, folds))}",
    )  # fmt: skip
    for text, found in answers.items():
        for task, one in found.items():
            table.add_row(text, task, *_row({task: one}, {task: first[task]}))
        table.add_row(text, "mean", *_row(found, first), end_section=True)
    Console(width=140).print(table)


def _answers(
    logits: Path, folds: Sequence[int], members: Sequence[str], share: float
) -> dict[str, Answers]:
    loaded = [[np.load(logits / f"fold{fold}-{name}.npz") for name in members] for fold in folds]
    tasks = [key.removeprefix("classes-") for key in loaded[0][0] if key.startswith("classes-")]
    found = {}
    for column, task in enumerate(tasks):
        classes = sorted({str(name) for files in loaded for name in files[0][f"classes-{task}"]})
        index = {name: i for i, name in enumerate(classes)}
        rows: list[tuple[IntArray, ...]] = []
        losses, before = [], 0
        for files in loaded:
            part = read_part(files, task, column)
            probabilities = shifted(share)(part)
            places = np.array([index[name] for name in part.counts])
            labels = part.test[1]
            known = np.flatnonzero(files[0]["test-labels"][:, column] >= 0)
            rows.append((before + known, places[labels], places[probabilities.argmax(axis=1)]))
            losses.append(-np.log(probabilities[np.arange(len(labels)), labels]))
            before += len(files[0]["test-labels"])
        joined = [np.concatenate(one) for one in zip(*rows, strict=True)]
        found[task] = Answers(*joined, np.concatenate(losses), len(classes))
    return found


def _row(found: Mapping[str, Answers], first: Mapping[str, Answers]) -> list[str]:
    """The table's cells: means over these tasks."""
    loss, before = (
        np.mean([one.losses.mean() for one in some.values()]) for some in (found, first)
    )
    f1, f1_before = (_f1(some, _once) for some in (found, first))
    change = f1[0] - f1_before[0]
    drawn = _f1(found, _drawn) - _f1(first, _drawn)
    ratios = _losses(found) / _losses(first) - 1
    return [
        f"{loss:.3f}",
        _interval(100 * (loss / before - 1), 100 * ratios),
        f"{f1[0]:.3f}",
        _interval(100 * change, 100 * drawn),
        f"{np.mean([(one.labels == one.predicted).mean() for one in found.values()]):.3f}",
    ]


def _losses(found: Mapping[str, Answers]) -> FloatArray:
    """Mean log loss of these tasks in each draw of photographs [DRAWS]."""
    count = 1 + max(int(one.photographs.max()) for one in found.values())
    weights = np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), DRAWS)
    means = [
        weights[:, one.photographs] @ one.losses / weights[:, one.photographs].sum(axis=1)
        for one in found.values()
    ]
    result: FloatArray = np.mean(means, axis=0)
    return result


def _once(one: Answers) -> FloatArray:
    return np.array([f1_score(one.labels, one.predicted, average="macro")])


def _drawn(one: Answers) -> FloatArray:
    return macro_draws(
        one.labels, one.predicted, one.photographs, one.named, resamples=DRAWS, seed=SEED
    ).f1_macro


def _f1(found: Mapping[str, Answers], scored: Callable[[Answers], FloatArray]) -> FloatArray:
    result: FloatArray = np.mean([scored(one) for one in found.values()], axis=0)
    return result


def _interval(value: float, draws: FloatArray) -> str:
    low, high = np.percentile(draws, [2.5, 97.5])
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


if __name__ == "__main__":
    typer.run(main)
