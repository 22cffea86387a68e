"""Decoded pictures that every process maps from the same files, and the rows beside them.

```
material/real/*.pixels            the real pictures, to take views from and as the model sees them
material/<source>/metadata.csv    the usable rows of a folder of added pictures
material/<source>/*.pixels        those pictures, to take views from
material/weights.safetensors      the backbone's weights to start from, if there are any
```
Pixels are named by the digest of their folder, so that others are never taken for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save
from torch import Tensor, nn

from porcelain.dataset import (
    METADATA_FILE,
    Dataset,
    Record,
    label_indices,
    read_metadata,
    write_metadata,
)
from porcelain.files import sha256_bytes, write_bytes
from porcelain.preparation import ResizeRule
from porcelain.vocabulary import TASKS
from training.classifier.model import create_backbone, load_hub_weights, load_weights_file
from training.classifier.pictures import prepare_pictures
from training.classifier.settings import TrainSettings
from training.experiment.folds import Parts, folds_of
from training.experiment.records import Experiment, read_experiment
from training.experiment.sources import Source, source_name

MATERIAL_FOLDER: Final = "material"
REAL_FOLDER: Final = "real"
WEIGHTS_FILE: Final = "weights.safetensors"

Pixels = npt.NDArray[np.uint8]
OnPicture = Callable[[int, int], None]


DIGEST = "weights"


@dataclass(frozen=True)
class Added:
    """The pictures of one source: rows, pixels [N, size, size, 3], class indices [N, tasks]."""

    records: tuple[Record, ...]
    pixels: Pixels
    labels: Tensor


class Material:
    """What a process needs to do units of an experiment.

    Attributes:
        root: The experiment's folder.
        experiment: Its description.
        training: How every arm trains.
    """

    def __init__(self, root: Path) -> None:
        """Open an experiment that has been prepared."""
        self.root = root
        self.experiment: Experiment = read_experiment(root)
        self.training = TrainSettings.model_validate(self.experiment.training)
        self._folds: dict[int, list[Parts]] = {}
        self._added: dict[str, Added] = {}

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """The real pictures' rows, in the experiment's order."""
        return tuple(
            Record(picture.file_name, picture.labels, picture.object_id)
            for picture in self.experiment.pictures
        )

    @cached_property
    def labels(self) -> Tensor:
        """Their class indices [N, tasks]; -1 where unknown."""
        return labels_of(self.records, self.experiment)

    @cached_property
    def training_pixels(self) -> Pixels:
        """The real pictures to take views from, [N, cached, cached, 3]."""
        return self._mapped(REAL_FOLDER, "data", len(self.records), *_views(self.training))

    @cached_property
    def evaluation_pixels(self) -> Pixels:
        """The real pictures as the model sees them, [N, input, input, 3]."""
        size, rule = self.training.input_size, self.training.resize
        return self._mapped(REAL_FOLDER, "data", len(self.records), size, rule)

    @property
    def weights_file(self) -> Path | None:
        """The backbone's weights to start from."""
        path = self.root / MATERIAL_FOLDER / WEIGHTS_FILE
        return path if path.is_file() else None

    def parts(self, seed: int, fold: int) -> Parts:
        """Which pictures a unit trains on, validates on and tests."""
        if seed not in self._folds:
            self._folds[seed] = folds_of(self.experiment, seed, self.root)
        return self._folds[seed][fold]

    def added(self, role: str, fold: int) -> Added:
        """The pictures of a role for a fold."""
        folder = self.root / MATERIAL_FOLDER / source_name(role, fold)
        name = source_name(role, fold if folder.is_dir() else None)
        if name not in self._added:
            folder = self.root / MATERIAL_FOLDER / name
            records = read_metadata(folder).records
            pixels = self._mapped(name, name, len(records), *_views(self.training))
            self._added[name] = Added(records, pixels, labels_of(records, self.experiment))
        return self._added[name]

    def _mapped(self, folder: str, digest: str, count: int, size: int, rule: ResizeRule) -> Pixels:
        shape = (count, size, size, 3)
        if count == 0:
            return np.zeros(shape, np.uint8)
        name = _pixels_name(self.experiment.digests[digest], size, rule)
        return np.memmap(self.root / MATERIAL_FOLDER / folder / name, np.uint8, "r", shape=shape)


def prepare_material(
    root: Path,
    experiment: Experiment,
    dataset: Dataset,
    sources: Sequence[Source],
    on_picture: OnPicture,
) -> None:
    """Decode every picture once, for all units; what is there already stays.

    Args:
        root: The experiment's folder.
        experiment: Its description.
        dataset: Its real pictures, in its order.
        sources: Folders of added pictures.
        on_picture: Called with pictures decoded and in all.
    """
    training = TrainSettings.model_validate(experiment.training)
    real = [dataset.path(record) for record in dataset.records]
    views = _views(training)
    jobs = [
        (real, REAL_FOLDER, "data", views),
        (real, REAL_FOLDER, "data", (training.input_size, training.resize)),
    ]
    for source in sources:
        paths = [source.root / record.file_name for record in source.records]
        jobs.append((paths, source.name, source.name, views))
    total, before = sum(len(paths) for paths, *_ in jobs), 0
    for paths, folder, digest, how in jobs:
        name = _pixels_name(experiment.digests[digest], *how)
        file = root / MATERIAL_FOLDER / folder / name
        _decode(paths, *how, file, lambda n, _, start=before: on_picture(start + n, total))
        before += len(paths)
    # Last, because they say that a source is complete.
    for source in sources:
        write_metadata(root / MATERIAL_FOLDER / source.name, source.records)


def is_prepared(root: Path, source: Source, earlier: Experiment) -> bool:
    """Whether an earlier run has examined and decoded a source."""
    rows = root / MATERIAL_FOLDER / source.name / METADATA_FILE
    return source.name in earlier.digests and rows.is_file()


def labels_of(records: Sequence[Record], experiment: Experiment) -> Tensor:
    """Class indices [N, tasks of the experiment]; -1 where unknown."""
    classes = {task: experiment.labels.get(task, []) for task in TASKS}
    rows = torch.tensor(label_indices(records, classes), dtype=torch.int64)
    columns = [TASKS.index(task) for task in experiment.tasks]
    return rows.view(len(records), len(TASKS))[:, columns]


def _decode(
    paths: list[Path], size: int, rule: ResizeRule, file: Path, on_picture: OnPicture
) -> None:
    """Decode into `file` at once: a process that maps it sees all of it."""
    if file.is_file() and file.stat().st_size == len(paths) * size * size * 3:
        on_picture(len(paths), len(paths))
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    work = file.with_name(f".{file.name}.{uuid4().hex}.partial")
    try:
        if paths:
            prepare_pictures(paths, size, rule, work, on_picture)
        else:
            work.touch()
        work.replace(file)
    finally:
        work.unlink(missing_ok=True)
        work.with_suffix(".json").unlink(missing_ok=True)


def _views(training: TrainSettings) -> tuple[int, ResizeRule]:
    """Size and rule of pictures that views are taken from."""
    return training.cached_size, training.cached_rule()


def _pixels_name(digest: str, size: int, rule: ResizeRule) -> str:
    return f"{digest[:16]}.{size}.{rule}.pixels"


def resolve_weights(
    training: TrainSettings,
    root: Path,
    earlier: Experiment | None,
    message: Callable[[str], None],
) -> tuple[TrainSettings, dict[str, str]]:
    """Find pretrained weights and keep them beside the decoded pictures.

    Args:
        training: As given.
        root: The experiment's folder.
        earlier: What is there already: its weights stay, whatever the hub has now.
        message: Hears why there are none.

    Returns:
        The settings, for scratch where there are no weights, and the weights' digest by name.

    Raises:
        UserError: No such backbone, or the file does not fit it.
    """
    file = training.pretrained_file()
    backbone = create_backbone(training.backbone)
    if file is not None:
        load_weights_file(backbone, file)
        return training, _keep(backbone, root, earlier)
    if training.pretrained == "none":
        return training.for_scratch(), {}
    if earlier is not None and earlier.training["pretrained"] == training.pretrained:
        found = DIGEST in earlier.digests
        kept = {DIGEST: earlier.digests[DIGEST]} if found else {}
        return training if found else training.for_scratch(), kept
    reason = load_hub_weights(backbone, training.backbone)
    if reason is not None:
        message(reason)
        return training.for_scratch(), {}
    return training, _keep(backbone, root, earlier)


def _keep(backbone: nn.Module, root: Path, earlier: Experiment | None) -> dict[str, str]:
    content = save({name: value.contiguous() for name, value in backbone.state_dict().items()})
    path = root / MATERIAL_FOLDER / WEIGHTS_FILE
    # What finished units began with is never replaced.
    if earlier is None or not path.is_file():
        write_bytes(path, content)
    return {DIGEST: sha256_bytes(content)}
