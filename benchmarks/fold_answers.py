"""Answers of models of five folds, each about photographs that it has not seen, for benchmarks.

From the logits that fine-tuned members left, or from linear heads on a backbone's frozen features,
which take two minutes on a CPU and are about as accurate on the developers' photographs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression

from porcelain.dataset import Dataset, Record, load_dataset, subset
from porcelain.preparation import DEFAULT_SIZE
from training.classifier.calibration import apply_temperature, fit_temperature
from training.classifier.model import MultiTaskClassifier, load_weights_file
from training.classifier.pictures import prepare_pictures
from training.data.split import make_folds

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FOLDS = 5
REGULARISATION = 0.003
BATCH = 32


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
    row = {record.file_name: i for i, record in enumerate(dataset.records)}
    features = frozen_features(dataset, backbone, weights)
    folds = []
    for split in make_folds(dataset, FOLDS, seed):
        train = subset(dataset, split.names["train"])
        classes = {task: train.classes(task) for task in dataset.records[0].labels}
        names = {part: list(split.names[part]) for part in ("validation", "test")}
        heads = linear_heads(features[[row[r.file_name] for r in train.records]], train, classes)
        scores = {
            part: {
                task: head.decision_function(features[[row[name] for name in listed]])
                for task, head in heads.items()
            }
            for part, listed in names.items()
        }
        folds.append(_fold(dataset, names, classes, scores))
    return folds


@torch.inference_mode()
def frozen_features(dataset: Dataset, backbone: str, weights: Path) -> npt.NDArray[np.float32]:
    """Standardised features of every picture [N, F]."""
    model = MultiTaskClassifier(backbone, {"any": 2}).eval()
    load_weights_file(model.backbone, weights)
    mean, std = (value.view(1, 3, 1, 1) for value in model.normalisation())
    paths = [dataset.path(record) for record in dataset.records]
    cache = Path("/tmp") / f"porcelain-{dataset.digest()[:16]}.pixels"
    pixels = prepare_pictures(paths, DEFAULT_SIZE, "letterbox-crop", cache).pixels
    parts = []
    for start in range(0, len(pixels), BATCH):
        some = torch.from_numpy(np.array(pixels[start : start + BATCH])).permute(0, 3, 1, 2)
        parts.append(model.features(model.feature_map((some.float() / 255 - mean) / std)).numpy())
    features = np.concatenate(parts)
    result: npt.NDArray[np.float32] = (features - features.mean(0)) / (features.std(0) + 1e-6)
    return result


def linear_heads(
    features: npt.NDArray[np.float32], train: Dataset, classes: dict[str, list[str]]
) -> dict[str, LogisticRegression]:
    """One multinomial logistic regression per task, on the known labels."""
    labels = label_columns(train.records, classes)
    return {
        task: LogisticRegression(C=REGULARISATION, max_iter=300).fit(
            features[column >= 0], column[column >= 0]
        )
        for task, column in labels.items()
    }


def label_columns(records: Sequence[Record], classes: dict[str, list[str]]) -> dict[str, IntArray]:
    """Class indices per task [N]; -1 where unknown or not among the classes."""
    index = {task: {name: i for i, name in enumerate(names)} for task, names in classes.items()}
    return {
        task: np.array([index[task].get(r.labels[task] or "", -1) for r in records], np.int64)
        for task in classes
    }


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
