"""What both stages share: optimiser, schedule, averaged weights, checkpoints.

A stage is a function of its settings and data: what is random in a step is drawn from
(seed, stage, step), so that a run that was interrupted ends as one that was not. Only a limit in
hours makes the end depend on the machine.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from porcelain.files import write_bytes
from training.classifier.optimisation import WeightAverage
from training.generator.pretraining.precision import autocast
from training.generator.pretraining.schedule import Schedule
from training.generator.pretraining.settings import RuntimeSettings, StageSettings

SMOOTHING = 0.98


class Objective(Protocol):
    """What a stage minimises."""

    def __call__(self, step: int) -> dict[str, Tensor]:
        """The terms of the loss of `step`, already weighted; they are added up."""


class Companion(Protocol):
    """What learns beside a stage's module, and is kept in its checkpoints."""

    def state_dict(self) -> dict[str, Any]:
        """All that it has learned."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Be as it was then."""


@dataclass(frozen=True)
class StageProgress:
    """Where a stage stands after a step.

    Attributes:
        stage: Its name.
        step: Steps done.
        total: Steps in all, as far as known.
        batch_size: Pictures per step.
        loss: Smoothed over some fifty steps.
        pictures_per_second: Of this run.
    """

    stage: str
    step: int
    total: int
    batch_size: int
    loss: float
    pictures_per_second: float


class StageTrainer:
    """Trains one module against one objective.

    Attributes:
        module: The module with the weights in training.
        average: Their exponential moving average.
        step: Steps done.
        seconds: Spent on training, over all runs.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        settings: StageSettings,
        runtime: RuntimeSettings,
        checkpoint: Path,
        companion: Companion | None = None,
    ) -> None:
        """Set up; go on from `checkpoint` if it is there.

        Args:
            name: Of the stage, for progress and logs.
            module: On its device, with the weights to start from.
            settings: How to optimise.
            runtime: Precision and intervals.
            checkpoint: The checkpoint's file.
            companion: What the objective teaches beside, if anything.
        """
        self.name = name
        self.module = module
        self.settings = settings
        self.runtime = runtime
        self.checkpoint = checkpoint
        self.companion = companion
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.device = self.parameters[0].device
        self.optimizer = _optimizer(self.parameters, settings)
        self.schedule = Schedule(settings)
        self.average = WeightAverage(module, settings.averaging)
        self.step = 0
        self.seconds = 0.0
        self.loss = 0.0
        self._resume()

    def train(
        self,
        objective: Objective,
        on_step: Callable[[StageProgress], None] | None = None,
        on_preview: Callable[[int], None] | None = None,
        logs: Path | None = None,
        stop_after: int | None = None,
    ) -> None:
        """Train until the schedule is over.

        An interruption costs what came after the last checkpoint.

        Args:
            objective: The loss of a step.
            on_step: Called after every step.
            on_preview: Called with the step every `preview_minutes`, the module carrying the
                averaged weights.
            logs: Folder for TensorBoard.
            stop_after: Leave after this step, as an interruption would.
        """
        writer = SummaryWriter(str(logs / self.name)) if logs is not None else None
        saved = previewed = time.perf_counter()
        started = time.perf_counter(), self.step
        self.module.train()
        try:
            while not self.schedule.is_over(self.step) and self.step != stop_after:
                terms = self._advance(objective)
                now = time.perf_counter()
                if on_step is not None:
                    on_step(self._progress(*started))
                if writer is not None and self.step % 20 == 0:
                    self._log(writer, terms)
                if now - saved > 60 * self.runtime.checkpoint_minutes:
                    self.save()
                    saved = time.perf_counter()
                if on_preview and now - previewed > 60 * self.runtime.preview_minutes:
                    with self.averaged_weights():
                        on_preview(self.step)
                    previewed = time.perf_counter()
        finally:
            if writer is not None:
                writer.close()
        self.save()

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """The module as it would be kept now, in evaluation mode."""
        own = {name: value.clone() for name, value in self.module.state_dict().items()}
        self.module.load_state_dict(self.average.state)
        self.module.eval()
        try:
            yield
        finally:
            self.module.load_state_dict(own)
            self.module.train()

    def finish(self) -> nn.Module:
        """The module with the averaged weights, in evaluation mode."""
        self.module.load_state_dict(self.average.state)
        return self.module.eval()

    def save(self) -> None:
        """Write the checkpoint atomically."""
        content: dict[str, Any] = {
            "module": self.module.state_dict(),
            "average": self.average.state,
            "updates": self.average.updates,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "loss": self.loss,
            "fall_from": self.schedule.fall_from,
        }
        if self.companion is not None:
            content["companion"] = self.companion.state_dict()
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_bytes(self.checkpoint, buffer.getvalue())

    def _advance(self, objective: Objective) -> dict[str, Tensor]:
        started = time.perf_counter()
        rate = self.schedule.rate(self.step, self.seconds)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with autocast(self.device, self.runtime.precision):
            terms = objective(self.step)
        loss = torch.stack(list(terms.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, self.settings.gradient_norm)
        self.optimizer.step()
        self.average.update(self.module)
        share = min(SMOOTHING, self.step / (self.step + 1))
        # A GPU is asked for a number rarely, because it stops for the answer.
        if self.device.type == "cpu" or self.step % 20 == 0:
            self.loss = share * self.loss + (1.0 - share) * float(loss.detach())
        self.step += 1
        self.seconds += time.perf_counter() - started
        return terms

    def _progress(self, since: float, first: int) -> StageProgress:
        seconds = time.perf_counter() - since
        rate = (self.step - first) * self.settings.batch_size / max(seconds, 1e-9)
        total = self.schedule.last_step(self.step, self.seconds)
        return StageProgress(self.name, self.step, total, self.settings.batch_size, self.loss, rate)

    def _log(self, writer: SummaryWriter, terms: dict[str, Tensor]) -> None:
        writer.add_scalar("loss", self.loss, self.step)
        writer.add_scalar("rate", self.optimizer.param_groups[0]["lr"], self.step)
        for name, value in terms.items():
            writer.add_scalar(f"terms/{name}", float(value.detach()), self.step)

    def _resume(self) -> None:
        if not self.checkpoint.is_file():
            return
        content = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.module.load_state_dict(content["module"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.average.state = content["average"]
        self.average.updates = content["updates"]
        self.step = content["step"]
        self.seconds = content["seconds"]
        self.loss = content["loss"]
        self.schedule.fall_from = content["fall_from"]
        if self.companion is not None:
            self.companion.load_state_dict(content["companion"])


def batch_indices(count: int, size: int, step: int, seed: int) -> npt.NDArray[np.int64]:
    """Which pictures step `step` sees: every picture once before any is seen again.

    Args:
        count: Pictures in all.
        size: Pictures per step.
        step: From 0.
        seed: Of the order.
    """
    positions = np.arange(step * size, (step + 1) * size)
    epochs, places = np.divmod(positions, count)
    order = {e: np.random.default_rng([seed, e]).permutation(count) for e in np.unique(epochs)}
    return np.array([order[e][i] for e, i in zip(epochs, places, strict=True)])


def step_generator(seed: int, stage: int, step: int, device: torch.device) -> torch.Generator:
    """What is random in one step of one stage."""
    mixed = np.random.SeedSequence([seed, stage, step]).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(mixed >> 1))


def _optimizer(parameters: list[nn.Parameter], settings: StageSettings) -> torch.optim.AdamW:
    groups = [
        {
            "params": [p for p in parameters if p.ndim > 1],
            "weight_decay": settings.weight_decay,
        },
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.99), fused=True)
