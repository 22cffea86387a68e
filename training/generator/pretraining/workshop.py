"""What the stages of a run share: settings, folders, device, and whom to tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from training.generator.pretraining.settings import PretrainSettings
from training.generator.pretraining.stage import StageProgress, StageTrainer


@dataclass(frozen=True)
class Reporter:
    """What a caller hears while pretraining goes on. Every hook may be left out."""

    message: Callable[[str], None] = lambda text: None
    preparing: Callable[[str, int, int], None] = lambda what, done, total: None
    step: Callable[[StageProgress], None] = lambda progress: None


@dataclass(frozen=True)
class Workshop:
    """One run's surroundings.

    Attributes:
        settings: The resolved settings.
        work: Folder of everything unfinished.
        device: Where it is computed.
        reporter: Hears of progress.
        logs: Folder for TensorBoard.
    """

    settings: PretrainSettings
    work: Path
    device: torch.device
    reporter: Reporter
    logs: Path | None = None

    @property
    def previews(self) -> Path:
        """Folder of the sample grids and reconstructions made on the way."""
        folder = self.work / "previews"
        folder.mkdir(exist_ok=True)
        return folder


@dataclass(frozen=True)
class Effort:
    """What a stage took.

    Attributes:
        steps: Optimiser steps; 0 where the stage was taken from another base.
        batch_size: Pictures per step.
        hours: Of training, over all runs.
        loss: Smoothed, at the end.
    """

    steps: int = 0
    batch_size: int = 0
    hours: float = 0.0
    loss: float = 0.0

    @classmethod
    def of(cls, trainer: StageTrainer) -> Effort:
        """The effort of a finished stage."""
        return cls(
            trainer.step,
            trainer.settings.batch_size,
            round(trainer.seconds / 3600, 3),
            round(trainer.loss, 5),
        )
