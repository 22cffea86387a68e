r"""Can a label that the model does not know be told from those that it knows?

Labels are withheld from linear heads on a backbone's frozen features; photographs that have them are
then asked about, and so are those of known labels, in five folds. Scores are compared by AUROC per
task: how often a photograph of an unknown label scores higher than one of a known label.

    python -m benchmarks.none_of_these --data PHOTOS --weights tf_mobilenetv3_small_075.safetensors \
        --withhold glaze:sancai,glaze:jun_blue,glaze:black_brown,kiln:ding,kiln:longquan,type:ewer,type:basin
"""  # noqa: E501 - a command to copy

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.table import Table
from scipy.special import logsumexp, softmax
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score

from porcelain.dataset import Record, load_dataset
from training.audit.out_of_fold import (
    Features,
    FloatArray,
    IntArray,
    fit_head,
    frozen_features,
    head_logits,
    label_column,
    load_backbone,
)
from training.classifier.calibration import abstention_threshold, fit_temperature
from training.data.split import Split, make_folds

FOLDS: Final = 5
NEIGHBOURS: Final = 5
DIMENSIONS: Final = 64
SELECTIVE_ACCURACY: Final = 0.95
DEFAULT: Final = (
    "glaze:sancai,glaze:jun_blue,glaze:black_brown,kiln:ding,kiln:longquan,type:ewer,type:basin"
)


def main(
    data: Annotated[Path, typer.Option(help="Dataset folder.")],
    weights: Annotated[Path, typer.Option(help="Backbone's safetensors file.")],
    backbone: Annotated[str, typer.Option(help="timm's name.")] = "tf_mobilenetv3_small_075",
    withhold: Annotated[str, typer.Option(help="task:label,…")] = DEFAULT,
) -> None:
    """Print AUROC per task and score, and how many unknown labels abstention withholds already."""
    dataset = load_dataset(data)
    with TemporaryDirectory() as work:
        features, _ = frozen_features(dataset, load_backbone(backbone, str(weights)), Path(work))
    unknown = unknown_labels(withhold)
    splits = make_folds(dataset, FOLDS, seed=0)
    table = Table("task", "withheld", "pictures", "score", "AUROC", "abstained, unknown and known")
    for task, labels in unknown.items():
        parts = [_one_fold(features, dataset.records, split, task, labels) for split in splits]
        truth = np.concatenate([part["unknown"] for part in parts])
        withheld = np.concatenate([part["abstained"] for part in parts])
        shares = f"{withheld[truth > 0].mean():.0%}, {withheld[truth == 0].mean():.0%}"
        scores = [name for name in parts[0] if name not in ("unknown", "abstained")]
        for score in scores:
            # Within folds: scales differ between their heads.
            areas = [roc_auc_score(part["unknown"], part[score]) for part in parts]
            first = score == scores[0]
            table.add_row(
                task if first else "",
                ", ".join(sorted(labels)) if first else "",
                f"{int(truth.sum())} of {len(truth)}" if first else "",
                score,
                f"{np.mean(areas):.3f} ({min(areas):.3f} to {max(areas):.3f})",
                shares if first else "",
            )
    Console(width=140).print(table)


def unknown_labels(withhold: str) -> dict[str, set[str]]:
    """Labels by task, of `task:label,…`."""
    unknown: dict[str, set[str]] = {}
    for part in withhold.split(","):
        task, _, label = part.partition(":")
        unknown.setdefault(task, set()).add(label)
    return unknown


def _one_fold(
    features: Features, records: Sequence[Record], split: Split, task: str, unknown: set[str]
) -> dict[str, npt.NDArray[np.float64]]:
    """Every score of a fold's test pictures that have a label, and which of them are unknown."""
    row = {record.file_name: i for i, record in enumerate(records)}
    rows = {p: np.array([row[name] for name in names]) for p, names in split.names.items()}
    learned = {records[i].labels[task] for i in rows["train"]} - unknown - {None}
    names = sorted(label for label in learned if label is not None)
    labels = label_column(records, task, names)
    head = fit_head(features, labels, rows["train"], rows["validation"])
    check = rows["validation"]
    temperature = fit_temperature(head_logits(head, features[check]), labels[check])
    validation = softmax(head_logits(head, features[check]) / temperature, axis=1)
    limit = abstention_threshold(validation, labels[check], SELECTIVE_ACCURACY).threshold
    test = np.array([i for i in rows["test"] if records[i].labels[task] in {*names, *unknown}])
    logits = head_logits(head, features[test])
    probabilities = softmax(logits / temperature, axis=1)
    train = rows["train"][labels[rows["train"]] >= 0]
    best = probabilities.max(axis=1)
    return {
        "unknown": np.array([records[i].labels[task] in unknown for i in test], dtype=np.float64),
        "abstained": (best < limit).astype(np.float64),
        "1 - greatest probability": 1 - best,
        "entropy": -(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1),
        "energy": -logsumexp(logits, axis=1),
        "greatest logit": -logits.max(axis=1),
        "distance to neighbours": _neighbours(features[train], features[test]),
        "Mahalanobis": _mahalanobis(features[train], labels[train], features[test]),
    }


def _neighbours(train: Features, test: Features) -> FloatArray:
    """1 - cosine to the fifth nearest training picture (Sun et al., arXiv 2204.06507)."""
    one, other = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (train, test))
    nearest = np.sort(1 - other @ one.T, axis=1)[:, NEIGHBOURS - 1]
    return np.asarray(nearest, dtype=np.float64)


def _mahalanobis(train: Features, labels: IntArray, test: Features) -> FloatArray:
    """Least distance to a class's mean (Lee et al., arXiv 1807.03888), in principal components."""
    _, _, axes = np.linalg.svd(train - train.mean(axis=0), full_matrices=False)
    learn, ask = (np.asarray(rows @ axes[:DIMENSIONS].T, np.float64) for rows in (train, test))
    means = np.stack([learn[labels == label].mean(axis=0) for label in np.unique(labels)])
    centred = learn - means[np.searchsorted(np.unique(labels), labels)]
    precision = LedoitWolf(assume_centered=True).fit(centred).precision_
    away = ask[:, np.newaxis] - means
    distances: FloatArray = np.einsum("nkd,de,nke->nk", away, precision, away)
    return np.asarray(distances.min(axis=1), dtype=np.float64)


if __name__ == "__main__":
    typer.run(main)
