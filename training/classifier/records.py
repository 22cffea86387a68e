"""What a training run is given and what it tells: labelled pictures, epochs, logs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from porcelain.dataset import Record
from training.classifier.pictures import Pictures

SMOOTHED_EPOCHS = 3
"""A validation score is the mean over this many epochs: one epoch's F1-macro of rare classes is
mostly luck."""


@dataclass(frozen=True)
class LabelledPictures:
    """Prepared pictures with class indices [N, tasks], -1 where unknown, and their rows."""

    pictures: Pictures
    labels: Tensor
    records: tuple[Record, ...] = ()


def one_per_object(records: Sequence[Record]) -> list[int]:
    """Indices of the first picture of each object.

    Pictures of one object are right or wrong together, so that only one of them counts where a
    guarantee rests on independent pictures.
    """
    first: dict[str, int] = {}
    for index, record in enumerate(records):
        first.setdefault(record.object_id or record.file_name, index)
    return list(first.values())


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch showed.

    Attributes:
        epoch: From 1.
        loss: Mean training loss.
        pictures_per_second: Training pictures per second, all devices together.
        f1_macro: Validation F1-macro per task; empty without validation pictures.
        score: Mean over tasks and the last `SMOOTHED_EPOCHS` epochs.
    """

    epoch: int
    loss: float
    pictures_per_second: float
    f1_macro: dict[str, float]
    score: float


@dataclass
class Progress:
    """What a checkpoint keeps beside tensors.

    Attributes:
        history: Every epoch so far.
        best_epoch: The latest epoch that scores as well as any, within the tolerance; from 1.
    """

    history: list[EpochRecord] = field(default_factory=list)
    best_epoch: int = 0

    def best_score(self) -> float:
        """The highest score of any epoch so far."""
        return max((record.score for record in self.history), default=0.0)


def log_record(writer: SummaryWriter, record: EpochRecord) -> None:
    """Write one epoch to TensorBoard."""
    writer.add_scalar("train/loss", record.loss, record.epoch)
    writer.add_scalar("train/pictures_per_second", record.pictures_per_second, record.epoch)
    for task, value in record.f1_macro.items():
        writer.add_scalar(f"validation/f1_macro/{task}", value, record.epoch)
    if record.f1_macro:
        writer.add_scalar("validation/score", record.score, record.epoch)
