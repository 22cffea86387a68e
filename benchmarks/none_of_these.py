r"""Can a label that the model does not know be told from those that it knows?

Labels are withheld from linear heads on a backbone's frozen features; photographs that have them are
then asked about, and so are those of known labels, in five folds. Scores are compared by AUROC per
task: how often a photograph of an unknown label scores higher than one of a known label.

    python -m benchmarks.none_of_these --data PHOTOS --weights tf_mobilenetv3_small_075.safetensors \
        --withhold glaze:sancai,glaze:jun_blue,glaze:black_brown,kiln:ding,kiln:longquan,type:ewer,type:basin

With `--logits`, the same of members that `benchmarks.members` fine-tuned without these labels:

    python -m benchmarks.none_of_these --data PHOTOS --logits runs/members/logits
"""  # noqa: E501 - a command to copy

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from porcelain.domain import choose_threshold
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
    weights: Annotated[Path | None, typer.Option(help="Backbone's safetensors file.")] = None,
    backbone: Annotated[str, typer.Option(help="timm's name.")] = "tf_mobilenetv3_small_075",
    withhold: Annotated[str, typer.Option(help="task:label,…")] = DEFAULT,
    logits: Annotated[
        Path | None, typer.Option(help="Folder of `fold*-W-*.npz`, of fine-tuned members.")
    ] = None,
) -> None:
    """Print AUROC per task and score, and how many unknown labels abstention withholds already."""
    dataset = load_dataset(data)
    if logits is not None:
        _print(logits_scores(dataset.records, logits, unknown_labels(withhold)))
        return
    if weights is None:
        raise typer.BadParameter("give --weights for linear heads, or --logits of trained members")
    with TemporaryDirectory() as work:
        features, _ = frozen_features(dataset, load_backbone(backbone, str(weights)), Path(work))
    unknown = unknown_labels(withhold)
    splits = make_folds(dataset, FOLDS, seed=0)
    _print(
        {
            task: [_one_fold(features, dataset.records, split, task, labels) for split in splits]
            for task, labels in unknown.items()
        }
    )


def _print(folds: Mapping[str, list[dict[str, FloatArray]]]) -> None:
    table = Table("task", "pictures", "score", "AUROC", "abstained", "none of these")
    for task, parts in folds.items():
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        truth = joined.pop("unknown") > 0
        marks = [
            f"{marked[truth].mean():.0%} of unknown, {marked[~truth].mean():.0%} of known"
            for marked in (joined.pop("abstained"), joined.pop("none of these"))
        ]
        for place, score in enumerate(joined):
            # Within folds: scales differ between their heads.
            areas = [roc_auc_score(part["unknown"], part[score]) for part in parts]
            told = [task, f"{truth.sum()} of {len(truth)}"] if place == 0 else ["", ""]
            range_ = f"{np.mean(areas):.3f} ({min(areas):.3f} to {max(areas):.3f})"
            table.add_row(*told, score, range_, *(marks if place == 0 else ["", ""]))
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
    test = np.array([i for i in rows["test"] if records[i].labels[task] in {*names, *unknown}])
    train = rows["train"][labels[rows["train"]] >= 0]
    return {
        **_of_logits(
            (head_logits(head, features[check]), labels[check]),
            head_logits(head, features[test]),
            np.array([records[i].labels[task] in unknown for i in test]),
        ),
        "distance to neighbours": _neighbours(features[train], features[test]),
        "Mahalanobis": _mahalanobis(features[train], labels[train], features[test]),
    }


def logits_scores(
    records: Sequence[Record], folder: Path, unknown: Mapping[str, set[str]]
) -> dict[str, list[dict[str, FloatArray]]]:
    """The scores of members that learned without these labels, by task and fold."""
    by_name = {record.file_name: record for record in records}
    files = [np.load(file) for file in sorted(folder.glob("fold*-W-*.npz"))]
    found: dict[str, list[dict[str, FloatArray]]] = {task: [] for task in unknown}
    for file in files:
        columns = [name for name in file.files if name.startswith("classes-")]
        for task, hidden in unknown.items():
            column = columns.index(f"classes-{task}")
            known = set(file[f"classes-{task}"].tolist())
            labels = [by_name[name].labels[task] for name in file["test-names"].tolist()]
            rows = [i for i, label in enumerate(labels) if label in known | hidden]
            found[task].append(
                _of_logits(
                    (file[f"validation-{task}"], file["validation-labels"][:, column]),
                    file[f"test-{task}"][rows],
                    np.array([labels[i] in hidden for i in rows]),
                )
            )
    return found


def _of_logits(
    validation: tuple[FloatArray, IntArray], test: FloatArray, unknown: npt.NDArray[np.bool_]
) -> dict[str, FloatArray]:
    """What follows from logits: scores of test pictures, and which a bundle would mark."""
    logits, labels = validation
    temperature = fit_temperature(logits, labels)
    sure = softmax(logits / temperature, axis=1)
    limit = abstention_threshold(sure, labels, SELECTIVE_ACCURACY).threshold
    probabilities = softmax(test / temperature, axis=1)
    best = probabilities.max(axis=1)
    least = choose_threshold(sure.max(axis=1)[labels >= 0])
    return {
        "unknown": unknown.astype(np.float64),
        "abstained": (best < limit).astype(np.float64),
        "none of these": (best < least).astype(np.float64),
        "1 - greatest probability": 1 - best,
        "entropy": -(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1),
        "energy": -logsumexp(test, axis=1),
        "greatest logit": -test.max(axis=1),
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
