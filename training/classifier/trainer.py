"""The training run: set-up, epochs with checkpoints, and the best averaged weights at the end.

A run is a function of its settings and data alone: the order, augmentation and dropout of an epoch
are drawn from (seed, epoch), so that a run that was interrupted ends as one that was not.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from porcelain.files import write_bytes
from training.classifier.augmentation import augment
from training.classifier.evaluation.metrics import f1_macro
from training.classifier.losses import MultiTaskLoss, log_priors
from training.classifier.model import MultiTaskClassifier
from training.classifier.optimisation import WeightAverage, build_optimizer, set_rates
from training.classifier.pictures import batches
from training.classifier.prediction import predict
from training.classifier.records import (
    SMOOTHED_EPOCHS,
    EpochRecord,
    LabelledPictures,
    Progress,
    log_record,
)
from training.classifier.settings import TrainSettings

CHECKPOINT_FILE = "checkpoint.pt"
EpochCallback = Callable[[EpochRecord], None]


class ClassifierTrainer:
    """Trains a `MultiTaskClassifier`.

    Attributes:
        model: The model; after `train`, it carries the best averaged weights.
        progress: The epochs so far.
    """

    def __init__(
        self,
        model: MultiTaskClassifier,
        settings: TrainSettings,
        train: LabelledPictures,
        validation: LabelledPictures,
        work: Path,
        accelerator: Accelerator,
    ) -> None:
        """Set up; go on from the checkpoint in `work` if there is one.

        Args:
            model: With the weights to start from.
            settings: The resolved settings.
            train: At `settings.cached_size`.
            validation: At `settings.input_size`; may be empty.
            work: Folder of the checkpoint.
            accelerator: Device, precision and processes.
        """
        self.settings = settings
        self.accelerator = accelerator
        self.device = accelerator.device
        self.model = model.to(self.device, memory_format=torch.channels_last)
        self.train_data = train
        self.validation_data = validation
        self.work = work
        mean, std = model.normalisation()
        self.mean = mean.view(1, 3, 1, 1).to(self.device)
        self.std = std.view(1, 3, 1, 1).to(self.device)
        counts = {
            task: torch.bincount(column[column >= 0], minlength=head.out_features)
            for task, column, head in zip(model.tasks, train.labels.T, model.heads, strict=True)
        }
        self.log_priors = {task: log_priors(n).to(self.device) for task, n in counts.items()}
        self.loss = MultiTaskLoss(counts, settings.loss, settings.label_smoothing).to(self.device)
        self.optimizer = build_optimizer(model, settings)
        self.average = WeightAverage(self.model, settings.averaging)
        self.best: dict[str, Tensor] = self.average.state
        self.progress = Progress()
        self._resume()
        self.replica, self.optimizer = accelerator.prepare(self.model, self.optimizer)

    def train(
        self,
        on_epoch: EpochCallback | None = None,
        logs: Path | None = None,
        epochs: int | None = None,
    ) -> None:
        """Train to the last epoch or until validation stops improving.

        Args:
            on_epoch: Called after every epoch, on the main process.
            logs: Folder for TensorBoard.
            epochs: Stop after this many; the schedule stays that of all epochs.
        """
        last = min(epochs or self.settings.epochs, self.settings.epochs)
        main = self.accelerator.is_main_process
        writer = SummaryWriter(str(logs)) if logs is not None and main else None
        try:
            for epoch in range(len(self.progress.history), last):
                if self._is_over():
                    break
                record = self._run_epoch(epoch)
                if main:
                    self._save()
                    if on_epoch is not None:
                        on_epoch(record)
                    if writer is not None:
                        log_record(writer, record)
        finally:
            if writer is not None:
                writer.close()
        self.model.load_state_dict(self.best)
        self._correct_priors()

    def _correct_priors(self) -> None:
        """Take a share of log class frequency off the heads' biases (see `prior_correction`).

        Trained on few pictures of a class, a head learns above all that it is rare.
        """
        for task, head in zip(self.model.tasks, self.model.heads, strict=True):
            head.bias.data -= self.settings.prior_correction * self.log_priors[task]

    def _run_epoch(self, epoch: int) -> EpochRecord:
        started = time.perf_counter()
        loss = self._learn(epoch)
        seconds = time.perf_counter() - started
        rate = len(self.train_data.labels) / seconds
        # One process decides for all: batch norm's statistics differ a little between them.
        scores = self._validate() if self.accelerator.is_main_process else {}
        scores = broadcast_object_list([scores])[0]
        history = self.progress.history
        recent = [
            float(np.mean(list(f1.values()))) if f1 else 0.0
            for f1 in [*(r.f1_macro for r in history[-(SMOOTHED_EPOCHS - 1) :]), scores]
        ]
        record = EpochRecord(epoch + 1, loss, rate, scores, float(np.mean(recent)))
        history.append(record)
        # Without validation pictures the last epoch is the best there is.
        if record.score >= self.progress.best_score() - self.settings.tolerance or not scores:
            self.progress.best_epoch = record.epoch
            self.best = {name: value.clone() for name, value in self.average.state.items()}
        return record

    def _learn(self, epoch: int) -> float:
        """One pass over the training pictures; returns the mean loss."""
        settings = self.settings
        order = self._order(epoch)
        frozen = epoch < settings.frozen_epochs
        self.replica.train()
        if frozen:
            # Batch statistics of a backbone that does not learn must not move either.
            self.model.backbone.eval()
        rank = self.accelerator.process_index
        generator = torch.Generator(self.device)
        total = torch.zeros((), device=self.device)
        stream = batches(self.train_data.pictures, self.train_data.labels, order, self.device)
        for index, (pixels, labels) in enumerate(stream):
            step = epoch * len(order) + index
            seed = _mixed_seed(settings.seed, step, rank)
            torch.manual_seed(seed)  # dropout
            generator.manual_seed(seed)
            set_rates(self.optimizer, settings, step, len(order))
            images = augment(pixels, settings.input_size, settings.augmentation, generator)
            loss = self._step(images, labels, generator, mix=not frozen)
            self.average.update(self.model)
            total += loss.detach()
        mean: Tensor = self.accelerator.reduce(total / max(1, len(order)), reduction="mean")
        return float(mean)

    def _step(
        self, images: Tensor, labels: Tensor, generator: torch.Generator, *, mix: bool
    ) -> Tensor:
        settings = self.settings
        images = images.sub_(self.mean).div_(self.std)
        share, partner = 1.0, None
        if mix and settings.mixup > 0:
            # One share per batch (Zhang et al., arXiv 1710.09412).
            share = float(
                np.random.default_rng(generator.initial_seed()).beta(settings.mixup, settings.mixup)
            )
            partner = torch.randperm(len(images), generator=generator, device=self.device)
            images = images.mul(share).add_(images[partner], alpha=1.0 - share)
        with self.accelerator.autocast():
            logits = self.replica(images)
        logits = {task: value.float() for task, value in logits.items()}
        loss: Tensor = self.loss(logits, labels)
        if partner is not None:
            loss = share * loss + (1.0 - share) * self.loss(logits, labels[partner])
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(list(self.model.parameters()), settings.gradient_norm)
        self.optimizer.step()
        return loss

    def _order(self, epoch: int) -> list[npt.NDArray[np.int64]]:
        """This process's share of every batch of an epoch, the same on every number of devices."""
        count = len(self.train_data.labels)
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        size = min(self.settings.batch_size, count)
        permutation = np.random.default_rng([self.settings.seed, epoch]).permutation(count)
        whole = [permutation[i : i + size] for i in range(0, count - size + 1, size)]
        return [batch[rank::world] for batch in whole]

    def _validate(self) -> dict[str, float]:
        """F1-macro per task of the averaged weights on the validation pictures."""
        labels = self.validation_data.labels
        if len(labels) == 0:
            return {}
        with self._averaged_weights():
            logits = predict(self.model, self.validation_data.pictures.pixels, self.device)
        return {
            task: f1_macro(labels[:, column].numpy(), logits[task].argmax(axis=1))
            for column, task in enumerate(self.model.tasks)
            if bool((labels[:, column] >= 0).any())
        }

    @contextmanager
    def _averaged_weights(self) -> Iterator[None]:
        """The model as it would be exported now."""
        own = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.average.state)
        self._correct_priors()
        try:
            yield
        finally:
            self.model.load_state_dict(own)

    def _is_over(self) -> bool:
        waited = len(self.progress.history) - self.progress.best_epoch
        return self.progress.best_epoch > 0 and waited >= self.settings.patience

    def _save(self) -> None:
        content: dict[str, Any] = {
            "model": self.model.state_dict(),
            "average": self.average.state,
            "updates": self.average.updates,
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "best_epoch": self.progress.best_epoch,
            "history": json.dumps([vars(record) for record in self.progress.history]),
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_bytes(self.work / CHECKPOINT_FILE, buffer.getvalue())

    def _resume(self) -> None:
        path = self.work / CHECKPOINT_FILE
        if not path.is_file():
            return
        content = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.average.state = content["average"]
        self.average.updates = content["updates"]
        self.best = content["best"]
        history = [EpochRecord(**record) for record in json.loads(content["history"])]
        self.progress = Progress(history, content["best_epoch"])


def _mixed_seed(seed: int, step: int, rank: int) -> int:
    """One seed per training seed, step and process."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)
