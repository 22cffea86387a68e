"""Answers of models of five folds, each about photographs that it has not seen, for benchmarks.

From the logits that fine-tuned members left, or from linear heads on a backbone's frozen features,
which take two minutes on a CPU and are about as accurate on the developers' photographs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from porcelain.dataset import Dataset, Record, load_dataset
from training.audit.out_of_fold import (
    answer_fold,
    frozen_features,
    label_column,
    load_backbone,
)
from training.classifier.calibration import apply_temperature, fit_temperature
from training.data.split import make_folds

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FOLDS = 5


@dataclass(frozen=True)
class Part:
    """Photographs of one part of a fold.

    Attributes:
        records: The N photographs.
        labels: Class indices per task [N]; -1 where unknown, or not among the fold's classes.
        probabilities: Calibrated on the fold's validation part, per task [N, classes].
    """

    records: tuple[Record, ...]
    labels: dict[str, IntArray]
    probabilities: dict[str, FloatArray]


@dataclass(frozen=True)
class Fold:
    """One fold: what its model learned from, and what it says of the rest."""

    classes: dict[str, list[str]]
    train: tuple[Record, ...]
    validation: Part
    test: Part


def read_folds(data: Path, logits: Path, kind: str) -> list[Fold]:
    """Folds of members' logits: `fold{F}-{KIND}-{SEED}.npz`, averaged over the seeds there are."""
    dataset = load_dataset(data)
    folds = []
    for number in range(FOLDS):
        files = [np.load(path) for path in sorted(logits.glob(f"fold{number}-{kind}-*.npz"))]
        if not files:
            continue
        tasks = [name.removeprefix("classes-") for name in files[0].files if "classes-" in name]
        classes = {task: files[0][f"classes-{task}"].tolist() for task in tasks}
        names = {part: files[0][f"{part}-names"].tolist() for part in ("validation", "test")}
        scores = {
            part: {t: np.mean([file[f"{part}-{t}"] for file in files], axis=0) for t in tasks}
            for part in names
        }
        folds.append(_fold(dataset, names, classes, scores))
    return folds


def linear_folds(data: Path, backbone: str, weights: Path, seed: int = 0) -> list[Fold]:
    """Folds of linear heads on the features of a backbone that does not learn."""
    dataset = load_dataset(data)
    with TemporaryDirectory() as work:
        features, _ = frozen_features(dataset, load_backbone(backbone, str(weights)), Path(work))
    folds = []
    for split in make_folds(dataset, FOLDS, seed):
        answers = answer_fold(features, dataset.records, split, list(dataset.records[0].labels))
        known = {record.file_name: record for record in dataset.records}
        parts = []
        for name in ("validation", "test"):
            records = tuple(known[one] for one in split.names[name])
            labels = label_columns(records, answers.classes)
            parts.append(Part(records, labels, getattr(answers, name)))
        train = tuple(known[one] for one in split.names["train"])
        folds.append(Fold(answers.classes, train, *parts))
    return folds


def label_columns(records: Sequence[Record], classes: dict[str, list[str]]) -> dict[str, IntArray]:
    """Class indices per task [N]; -1 where unknown or not among the classes."""
    return {task: label_column(records, task, names) for task, names in classes.items()}


def _fold(
    dataset: Dataset,
    names: dict[str, list[str]],
    classes: dict[str, list[str]],
    scores: dict[str, dict[str, FloatArray]],
) -> Fold:
    known = {record.file_name: record for record in dataset.records}
    held = {name for listed in names.values() for name in listed}
    records = {part: tuple(known[name] for name in listed) for part, listed in names.items()}
    labels = {part: label_columns(rows, classes) for part, rows in records.items()}
    temperatures = {
        task: fit_temperature(scores["validation"][task], labels["validation"][task])
        for task in classes
    }
    parts = {
        part: Part(
            records[part],
            labels[part],
            {task: apply_temperature(rows, temperatures[task]) for task, rows in tables.items()},
        )
        for part, tables in scores.items()
    }
    train = tuple(record for record in dataset.records if record.file_name not in held)
    return Fold(classes, train, parts["validation"], parts["test"])
