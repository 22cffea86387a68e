r"""Does an audit find planted wrong labels, and are the blanks that it would fill filled rightly?

Per seed, 5 % of the known labels are made wrong: half plausibly, drawn from what models that have not
seen the picture think of its other labels, half at random. Every model then learns from these
labels, as in a collection that holds such errors. Apart from that, 5 % are made blank.

    python -m benchmarks.audit --data PHOTOS --weights tf_mobilenetv3_small_075.safetensors
"""  # noqa: E501 - sentences

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from porcelain.dataset import Record, load_dataset
from training.audit.audit import may_fill
from training.audit.out_of_fold import FoldAnswers, answer_fold, frozen_features, load_backbone
from training.audit.scores import Judgement, fill_threshold, judge
from training.classifier.known_facts import count_combinations
from training.data.split import Split, make_folds

SHARE: Final = 0.05
TOP: Final = 0.1
PRECISION: Final = 0.95

Cell = tuple[str, str]
"""File name and task."""


def main(
    data: Annotated[Path, typer.Option(help="Dataset folder.")],
    weights: Annotated[Path, typer.Option(help="Backbone's safetensors file.")],
    backbone: Annotated[str, typer.Option(help="timm's name.")] = "tf_mobilenetv3_small_075",
    seeds: Annotated[int, typer.Option(help="How many times labels are planted.")] = 3,
    folds: Annotated[int, typer.Option(help="Of the audit.")] = 5,
) -> None:
    """Print what share of planted errors stands at the top, and what share of fillings is right."""
    dataset = load_dataset(data)
    with TemporaryDirectory() as work:
        features, _ = frozen_features(dataset, load_backbone(backbone, str(weights)), Path(work))
    splits = make_folds(dataset, folds, seed=0)
    tasks = list(dataset.records[0].labels)
    clean = [answer_fold(features, dataset.records, split, tasks) for split in splits]
    table = Table(
        "seed", "planted", "in the top 10 %", "plausible", "random", "of the first 20",
        "blanks", "filled", "right", title=f"{len(dataset)} photographs, {folds} folds",
    )  # fmt: skip
    for seed in range(seeds):
        table.add_row(str(seed), *_one_seed(seed, features, dataset.records, splits, tasks, clean))
    Console(width=120).print(table)


def _one_seed(
    seed: int,
    features: np.ndarray,
    records: Sequence[Record],
    splits: Sequence[Split],
    tasks: Sequence[str],
    clean: Sequence[FoldAnswers],
) -> list[str]:
    rng = np.random.default_rng(seed)
    wrong, planted = _plant(rng, records, splits, clean)
    labels = sorted(
        (one for one in _judge(features, wrong, splits, tasks) if one.label is not None),
        key=lambda one: -one.suspicion,
    )
    top = [(one.file_name, one.task) for one in labels]
    first = set(top[: int(TOP * len(top))])
    found = {kind: np.mean([cell in first for cell in cells]) for kind, cells in planted.items()}
    both = set().union(*planted.values())
    blank, taken = _blank(rng, records)
    judgements = _judge(features, blank, splits, tasks)
    known = [one for one in judgements if one.label is not None]
    thresholds = {task: fill_threshold(known, task, PRECISION) for task in tasks}
    filled = [
        one.suggested == taken[one.file_name, one.task]
        for one in judgements
        if (one.file_name, one.task) in taken and may_fill(one, thresholds)
    ]
    return [
        str(len(both)),
        f"{np.mean([cell in first for cell in both]):.1%}",
        f"{found['plausible']:.0%}",
        f"{found['random']:.0%}",
        f"{sum(cell in both for cell in top[:20])}",
        str(len(taken)),
        str(len(filled)),
        f"{sum(filled) / max(1, len(filled)):.1%}",
    ]


def _judge(
    features: np.ndarray, records: Sequence[Record], splits: Sequence[Split], tasks: Sequence[str]
) -> list[Judgement]:
    judgements: list[Judgement] = []
    known = {record.file_name: record for record in records}
    for split in splits:
        answers = answer_fold(features, records, split, tasks)
        counted = count_combinations([known[n] for n in split.names["train"]], answers.classes)
        tested = [known[name] for name in split.names["test"]]
        judgements += judge(tested, answers.classes, answers.test, counted)
    return judgements


def _cells(rng: np.random.Generator, records: Sequence[Record]) -> list[Cell]:
    """A share of the known labels."""
    cells = [(r.file_name, task) for r in records for task, label in r.labels.items() if label]
    return [cells[i] for i in rng.permutation(len(cells))[: round(SHARE * len(cells))]]


def _plant(
    rng: np.random.Generator,
    records: Sequence[Record],
    splits: Sequence[Split],
    clean: Sequence[FoldAnswers],
) -> tuple[list[Record], dict[str, set[Cell]]]:
    """The records with wrong labels, and which those are."""
    believed: dict[Cell, Mapping[str, float]] = {
        (name, task): dict(zip(labels, answers.test[task][row], strict=True))
        for split, answers in zip(splits, clean, strict=True)
        for task, labels in answers.classes.items()
        for row, name in enumerate(split.names["test"])
    }
    by_name = {record.file_name: record for record in records}
    planted: dict[str, set[Cell]] = {"plausible": set(), "random": set()}
    for place, (name, task) in enumerate(_cells(rng, records)):
        record = by_name[name]
        kind = "plausible" if place % 2 == 0 else "random"
        others = {
            label: p for label, p in believed[name, task].items() if label != record.labels[task]
        }
        shares = np.array(list(others.values())) if kind == "plausible" else np.ones(len(others))
        new = str(rng.choice(list(others), p=shares / shares.sum()))
        planted[kind].add((name, task))
        by_name[name] = replace(record, labels={**record.labels, task: new})
    return [by_name[record.file_name] for record in records], planted


def _blank(
    rng: np.random.Generator, records: Sequence[Record]
) -> tuple[list[Record], dict[Cell, str]]:
    """The records with blanked labels, and what they were."""
    by_name = {record.file_name: record for record in records}
    taken: dict[Cell, str] = {}
    for name, task in _cells(rng, records):
        record = by_name[name]
        taken[name, task] = record.labels[task] or ""
        by_name[name] = replace(record, labels={**record.labels, task: None})
    return [by_name[record.file_name] for record in records], taken


if __name__ == "__main__":
    typer.run(main)
