"""What training leaves: models of one recipe that answer as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.classifier.model import MultiTaskClassifier, side_by_side
from training.classifier.pictures import Pictures
from training.classifier.prediction import predict
from training.classifier.settings import TrainSettings
from training.classifier.trainer import ClassifierTrainer


@dataclass(frozen=True)
class Trained:
    """One model, or several side by side.

    Attributes:
        settings: The run's; members differ from it in their seeds.
        trainers: Of every member, done.
        model: What answers.
    """

    settings: TrainSettings
    trainers: tuple[ClassifierTrainer, ...]
    model: MultiTaskClassifier

    @classmethod
    def of(cls, settings: TrainSettings, trainers: Sequence[ClassifierTrainer]) -> Trained:
        """Put the members side by side."""
        model = side_by_side([trainer.model for trainer in trainers])
        return cls(settings, tuple(trainers), model)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks answered, in order."""
        return self.model.tasks

    def predict(self, pictures: Pictures) -> dict[str, npt.NDArray[np.float64]]:
        """Logits per task [N, classes] of pictures at the input size."""
        return predict(self.model, pictures.pixels, self.trainers[0].device)
