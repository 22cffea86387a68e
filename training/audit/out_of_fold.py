"""What is said of each picture by heads that have not learned from it: linear, per fold and task.

A pretrained backbone that does not learn gives the features, so that a collection takes minutes
on a CPU and no label can leak through them; what learns, multinomial logistic regression, learns
from the other folds alone. Folds are by object and group of copies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from torch import nn

from porcelain.dataset import Dataset, Record
from porcelain.errors import UserError
from porcelain.files import write_bytes
from porcelain.preparation import DEFAULT_SIZE
from training.classifier.calibration import apply_temperature, fit_temperature
from training.classifier.model import create_backbone, load_hub_weights, load_weights_file
from training.classifier.pictures import prepare_pictures
from training.data.split import Split

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Features = npt.NDArray[np.float32]
Classes = Mapping[str, Sequence[str]]
ProgressCallback = Callable[[str, int, int], None]

REGULARISATIONS: Final = (0.0003, 0.001, 0.003, 0.01, 0.03)
"""Inverse strengths of the ridge penalty; the one with the least validation loss is used."""

BATCH: Final = 32
CHUNK: Final = 512
"""Pictures whose features are saved together: what an interruption can lose."""

_ITERATIONS: Final = 300


@dataclass(frozen=True)
class FoldAnswers:
    """Calibrated answers of one fold's heads, each task over the classes that it could learn.

    Attributes:
        classes: Labels per task in index order.
        validation: Per task [N, classes], about the pictures of the validation part.
        test: The same about the pictures of the test part.
    """

    classes: dict[str, list[str]]
    validation: dict[str, FloatArray]
    test: dict[str, FloatArray]


def load_backbone(name: str, pretrained: str) -> nn.Module:
    """A backbone with weights, in evaluation.

    Args:
        name: timm's name.
        pretrained: `auto` (timm's weights from the hub), `none` (random, for trying out), or a
            safetensors file.

    Raises:
        UserError: No such model, or no weights.
    """
    torch.manual_seed(0)
    backbone = create_backbone(name)
    if pretrained == "auto":
        reason = load_hub_weights(backbone, name)
        if reason is not None:
            raise UserError(
                f"There are no pretrained weights for {name} to see pictures with; give "
                "--pretrained a safetensors file."
            )
    elif pretrained != "none":
        load_weights_file(backbone, Path(pretrained))
    return backbone.eval()


def frozen_features(
    dataset: Dataset, backbone: nn.Module, work: Path, on_progress: ProgressCallback | None = None
) -> tuple[Features, dict[int, str]]:
    """Standardised features of every picture, kept in `work` so that an interrupted run goes on.

    Args:
        dataset: The pictures.
        backbone: In evaluation.
        work: A folder.
        on_progress: Called with what is done, and pictures done and in all.

    Returns:
        Features [N, F], and the reason of each picture that cannot be read.
    """
    say = on_progress or (lambda part, done, total: None)
    pictures = prepare_pictures(
        [dataset.path(record) for record in dataset.records],
        DEFAULT_SIZE,
        "letterbox-crop",
        work / "pictures.pixels",
        lambda done, total: say("Reading pictures", done, total),
    )
    config = backbone.pretrained_cfg
    mean, std = (torch.tensor(config[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    chunks = []
    for start in range(0, len(pictures), CHUNK):
        file = work / f"features-{start:08}.npy"
        if not file.is_file():
            found = _features(backbone, pictures.pixels[start : start + CHUNK], mean, std)
            write_bytes(file, found.tobytes())
        size = min(CHUNK, len(pictures) - start)
        chunks.append(np.frombuffer(file.read_bytes(), np.float32).reshape(size, -1))
        say("Looking at them", min(start + CHUNK, len(pictures)), len(pictures))
    features = np.concatenate(chunks)
    standardised: Features = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    return standardised, pictures.unusable


@torch.inference_mode()
def _features(
    backbone: nn.Module, pixels: npt.NDArray[np.uint8], mean: torch.Tensor, std: torch.Tensor
) -> Features:
    parts = []
    for start in range(0, len(pixels), BATCH):
        some = torch.from_numpy(np.array(pixels[start : start + BATCH])).permute(0, 3, 1, 2)
        parts.append(backbone((some.float() / 255 - mean) / std).flatten(1).numpy())
    found: Features = np.concatenate(parts).astype(np.float32)
    return found


def answer_fold(
    features: Features,
    records: Sequence[Record],
    split: Split,
    tasks: Sequence[str],
) -> FoldAnswers:
    """Learn from a fold's training part, calibrate on its validation part, answer the rest.

    Args:
        features: Of every record [N, F].
        records: The pictures, in the order of the features.
        split: The fold.
        tasks: Label columns; one with fewer than two labels to learn is left out.
    """
    row = {record.file_name: i for i, record in enumerate(records)}
    rows = {
        part: np.array([row[n] for n in names if n in row], dtype=np.int64)
        for part, names in split.names.items()
    }
    classes: dict[str, list[str]] = {}
    answers: dict[str, dict[str, FloatArray]] = {"validation": {}, "test": {}}
    for task in tasks:
        given = [records[i].labels[task] for i in rows["train"]]
        names = sorted({label for label in given if label is not None})
        if len(names) < 2:
            continue
        labels = label_column(records, task, names)
        head = fit_head(features, labels, rows["train"], rows["validation"])
        scores = {part: head_logits(head, features[rows[part]]) for part in answers}
        temperature = fit_temperature(scores["validation"], labels[rows["validation"]])
        classes[task] = names
        for part, found in answers.items():
            found[task] = apply_temperature(scores[part], temperature)
    return FoldAnswers(classes, answers["validation"], answers["test"])


def label_column(records: Sequence[Record], task: str, names: Sequence[str]) -> IntArray:
    """Class indices [N]; -1 where unknown or not among the names."""
    index = {name: i for i, name in enumerate(names)}
    return np.array([index.get(record.labels[task] or "", -1) for record in records], np.int64)


def fit_head(
    features: Features, labels: IntArray, train: IntArray, validation: IntArray
) -> LogisticRegression:
    """A task's head, its penalty chosen by validation log loss.

    Args:
        features: Of every picture [N, F].
        labels: Class indices [N]; -1 where unknown.
        train: Rows to learn from.
        validation: Rows to choose the penalty by.
    """
    learn, check = (part[labels[part] >= 0] for part in (train, validation))
    strengths = REGULARISATIONS if len(check) else REGULARISATIONS[2:3]
    heads, losses = [], []
    for strength in strengths:
        head = LogisticRegression(C=strength, max_iter=_ITERATIONS)
        heads.append(head.fit(features[learn], labels[learn]))
        losses.append(_log_loss(head, features[check], labels[check]))
        if len(losses) > 1 and losses[-1] >= losses[-2]:
            break  # weaker penalties only fit the noise more closely
    return heads[int(np.argmin(losses))]


def _log_loss(head: LogisticRegression, features: Features, labels: IntArray) -> float:
    if len(labels) == 0:
        return 0.0
    logarithms = log_softmax(head_logits(head, features), axis=1)
    return -float(logarithms[np.arange(len(labels)), labels].mean())


def head_logits(head: LogisticRegression, features: Features) -> FloatArray:
    """Logits [N, classes], of two classes too."""
    found = np.asarray(head.decision_function(features), dtype=np.float64)
    return np.stack([-found / 2, found / 2], axis=1) if found.ndim == 1 else found
