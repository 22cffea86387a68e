"""The training loop under every trainer: optimiser steps, schedules, averaged weights, checkpoints.

What is random in a step follows from (seed, step) alone, so that a run that was interrupted ends,
bit for bit, as one that was not. A checkpoint is one file that is written beside its place and
renamed: accelerate's `save_state` leaves a folder of several, half of which may be of another step.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from porcelain.errors import UserError
from porcelain.files import write_bytes

CHECKPOINT_VERSION = 2
Indices = npt.NDArray[np.int64]
Tensors = tuple[Tensor, ...] | list[Tensor]
Item = TypeVar("Item")


class Stateful(Protocol):
    """What a checkpoint can keep."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that must be restored, as tensors, numbers and strings."""

    def load_state_dict(self, state: dict[str, Any], /) -> object:
        """Restore what `state_dict` gave."""


class Schedule(Stateful, Protocol):
    """A learning-rate schedule, as factors on the optimiser's own rates."""

    def factor(self, step: int, seconds: float) -> float:
        """The factor at `step`, from 0, after so many seconds of training."""

    def is_over(self, step: int) -> bool:
        """Whether no step is left after `step` steps."""


@dataclass(frozen=True)
class WarmupCosine:
    """A linear rise, then constant or half a cosine down to zero.

    Attributes:
        steps: In all.
        warmup_steps: In which the factor rises to 1.
        constant: Whether it stays there.
    """

    steps: int
    warmup_steps: float
    constant: bool = False

    def factor(self, step: int, seconds: float = 0.0) -> float:
        """The factor at `step`; time does not matter."""
        rise = min(1.0, (step + 1) / max(1.0, self.warmup_steps))
        fall = 1.0 if self.constant else 0.5 * (1.0 + math.cos(math.pi * step / self.steps))
        return rise * fall

    def is_over(self, step: int) -> bool:
        """Whether all steps are done."""
        return step >= self.steps

    def state_dict(self) -> dict[str, Any]:
        """Nothing: it follows from the step."""
        return {}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Nothing is to be restored."""


@dataclass
class WarmupStableDecay:
    """A linear rise, a constant rate, then a decay that may begin whenever steps or time run out.

    The rate decays with one minus the square root, fast at first (Hägele et al., arXiv 2405.18392).
    A run may so end at any time, and be finished by a short decay alone.

    Attributes:
        steps: In all, the decay included.
        warmup_steps: In which the factor rises to 1.
        decay: Share of all steps in which the factor falls to 0.
        hours: Begin the decay in time to end after so many hours of training; None: no limit.
        decay_from: The step at which the decay began; None before. The only thing remembered.
    """

    steps: int
    warmup_steps: int
    decay: float
    hours: float | None = None
    decay_from: int | None = None

    def factor(self, step: int, seconds: float = 0.0) -> float:
        """The factor at `step`, asked for one step after the other."""
        if self.decay_from is None and self._must_decay(step, seconds):
            self.decay_from = step
        rise = min(1.0, (step + 1) / max(1, self.warmup_steps))
        if self.decay_from is None:
            return rise
        done = (step - self.decay_from) / self._decay_steps(self.decay_from)
        return rise * max(0.0, 1.0 - math.sqrt(done))

    def last_step(self, step: int, seconds: float) -> int:
        """The number of steps in all, as far as it can be told at `step`."""
        if self.decay_from is not None:
            return self.decay_from + self._decay_steps(self.decay_from)
        if self.hours is not None and step > 0 and seconds > 0:
            return min(self.steps, max(step + 1, round(step * self.hours * 3600 / seconds)))
        return self.steps

    def is_over(self, step: int) -> bool:
        """Whether no step is left."""
        if self.steps == 0:
            return True
        return self.decay_from is not None and step >= self.last_step(step, 0.0)

    def state_dict(self) -> dict[str, Any]:
        """Where the decay began."""
        return {"decay_from": self.decay_from}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Begin the decay where it began."""
        self.decay_from = state["decay_from"]

    def _decay_steps(self, start: int) -> int:
        """How long a decay is that begins at `start`, so that it has its share of all steps."""
        return max(1, round(start * self.decay / (1.0 - self.decay)))

    def _must_decay(self, step: int, seconds: float) -> bool:
        if step >= round(self.steps * (1.0 - self.decay)):
            return True
        if self.hours is None or step == 0:
            return False
        return seconds + self._decay_steps(step) * seconds / step >= self.hours * 3600


@dataclass
class History:
    """Every optimiser step so far.

    Attributes:
        losses: Mean loss over the batch.
        norms: Norm of the gradient before it was clipped.
    """

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)

    def recent_loss(self, count: int) -> float:
        """Mean loss of the last `count` steps; not a number without any."""
        last = self.losses[-count:]
        return sum(last) / len(last) if last else float("nan")


@dataclass(frozen=True)
class LoopSettings:
    """How steps are taken, whatever is trained.

    Attributes:
        seed: With the step, of everything random inside a step, such as dropout.
        gradient_norm: Largest norm of the gradient; larger gradients are scaled down to it.
        averaging: Decay of the exponential moving average of the weights; None keeps none.
        checkpoint_seconds: Between checkpoints: what an interruption costs at most.
        loss_scaling: Scale the loss, so that small gradients survive in float16.
        remedy: What to do where the loss is not a number any more, as the end of a sentence.
    """

    seed: int = 0
    gradient_norm: float = 1.0
    averaging: float | None = None
    checkpoint_seconds: float = 60.0
    loss_scaling: bool = False
    remedy: str = "lower the learning rate"


class TrainingLoop:
    """Trains one module; it goes on from its checkpoint where there is one.

    Attributes:
        module: What is trained.
        parameters: Its trainable parameters by name: a dictionary, because an iterator that the
            optimiser has read would leave nothing to clip.
        optimizer: Updates them.
        average: The averaged weights, as a module of their own; None without averaging.
        history: Loss and gradient norm of every step, as far as `settle` has read them.
        step: Optimiser steps done.
        seconds: Spent on them, over all runs.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        accelerator: Accelerator,
        checkpoint: Path,
        settings: LoopSettings,
        companions: Mapping[str, Stateful] | None = None,
    ) -> None:
        """Set up, and resume.

        Args:
            module: On its device, with the weights to start from.
            optimizer: Of its trainable parameters; its rates are those at a factor of 1.
            schedule: When a step has which rate, and which is the last.
            accelerator: Processes and device.
            checkpoint: The checkpoint's file; the main process writes it.
            settings: See there.
            companions: What learns beside the module, by name; kept in the checkpoint.

        Raises:
            UserError: The checkpoint is of another version.
        """
        self.module = module
        self.optimizer = optimizer
        self.schedule = schedule
        self.checkpoint = checkpoint
        self.parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self.average = None if settings.averaging is None else average(module, settings.averaging)
        self.history = History()
        self.step = 0
        self.seconds = 0.0
        self._settings = settings
        self._accelerator = accelerator
        self._companions = dict(companions or {})
        self._pending: list[tuple[Tensor, Tensor]] = []
        device = next(iter(self.parameters.values())).device
        self._scaler = torch.amp.GradScaler(device.type, enabled=settings.loss_scaling)
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self._resume(device)

    def run(
        self,
        losses: Callable[[int], Iterable[Tensor]],
        on_step: Callable[[int], None] | None = None,
    ) -> None:
        """Train to the end of the schedule; an interruption costs what the last checkpoint lacks.

        Args:
            losses: Of a step, the loss of each part of its batch, one after the other; they add up
                to the step's loss, averaged over processes.
            on_step: Called on the main process with the number of steps done.

        Raises:
            UserError: The loss is not a number any more.
        """
        saved = time.monotonic()
        main = self._accelerator.is_main_process
        while not self.schedule.is_over(self.step):
            self.take_step(losses)
            if not main:
                self._pending.clear()
                continue
            if on_step is not None:
                on_step(self.step)
            if time.monotonic() - saved >= self._settings.checkpoint_seconds:
                self.save()
                saved = time.monotonic()
        if main:
            self.save()

    def take_step(self, losses: Callable[[int], Iterable[Tensor]]) -> None:
        """One optimiser step; neither checkpoint nor `on_step` follows.

        Args:
            losses: As for `run`.
        """
        started = time.perf_counter()
        rank = self._accelerator.process_index
        torch.manual_seed(seed_of(self._settings.seed, self.step) + rank)
        factor = self.schedule.factor(self.step, self.seconds)
        for group in self.optimizer.param_groups:
            group["lr"] = factor * group["initial_lr"]
        parts = []
        for loss in losses(self.step):
            self._accelerator.backward(self._scaler.scale(loss))
            parts.append(loss.detach())
        self._scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), self._settings.gradient_norm)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update_parameters(self.module)
        self.step += 1
        # Not read here: that would make the processor wait for the device at every step.
        total = torch.stack(parts).sum()
        self._pending.append((self._accelerator.reduce(total, reduction="mean"), norm))
        self.seconds += time.perf_counter() - started

    def settle(self) -> History:
        """Read what the device has computed since the last time.

        Raises:
            UserError: The loss is not a number any more.
        """
        for loss, norm in self._pending:
            self.history.losses.append(float(loss))
            self.history.norms.append(float(norm))
        self._pending.clear()
        if self.history.losses and not math.isfinite(self.history.losses[-1]):
            raise UserError(
                f"The loss is not a number any more at step {self.step}; {self._settings.remedy}."
            )
        return self.history

    @property
    def averaged(self) -> nn.Module:
        """A module in evaluation mode with the averaged weights; the trained one without any."""
        return self.module if self.average is None else self.average.module

    def finish(self) -> nn.Module:
        """The module in evaluation mode, with the averaged weights where there are any."""
        self.settle()
        if self.average is not None:
            self.module.load_state_dict(self.average.module.state_dict())
        return self.module.eval()

    def save(self) -> None:
        """Write the checkpoint: the file is the last one or this one, never half of it."""
        history = self.settle()
        content: dict[str, Any] = {
            "version": CHECKPOINT_VERSION,
            "step": self.step,
            "seconds": self.seconds,
            "history": vars(history),
            "module": {n: p.detach() for n, p in self.parameters.items()},
            "buffers": dict(self.module.named_buffers()),
            **{name: part.state_dict() for name, part in self._parts().items()},
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_bytes(self.checkpoint, buffer.getvalue())

    def _parts(self) -> dict[str, Stateful]:
        """Everything beside the module that a checkpoint keeps."""
        parts: dict[str, Stateful] = {"optimizer": self.optimizer, "schedule": self.schedule}
        if self._scaler.is_enabled():
            parts["scaler"] = self._scaler
        if self.average is not None:
            parts["average"] = self.average
        return parts | {f"companion.{name}": part for name, part in self._companions.items()}

    @torch.no_grad()
    def _resume(self, device: torch.device) -> None:
        if not self.checkpoint.is_file():
            return
        content = torch.load(self.checkpoint, map_location=device, weights_only=True)
        if content.get("version") != CHECKPOINT_VERSION:
            raise UserError(
                f"{self.checkpoint} was written by another version, which alone can go on with it; "
                f"delete the folder {self.checkpoint.parent} to begin again."
            )
        for name, parameter in self.parameters.items():
            parameter.copy_(content["module"][name])
        for name, buffer in self.module.named_buffers():
            buffer.copy_(content["buffers"][name])
        for name, part in self._parts().items():
            part.load_state_dict(content[name])
        self.history = History(**content["history"])
        self.step = content["step"]
        self.seconds = content["seconds"]


class EpochSampler:
    """Which of N pictures make up each batch: a function of the shares, the seed and the step.

    The order is an endless row of epochs, each N pictures long. In each, a picture appears its
    expected number of times, rounded up or down at random (systematic sampling: Madow, Annals of
    Mathematical Statistics 20, 1949), so that none is missed by bad luck; equal shares make an
    epoch a plain permutation.
    """

    def __init__(self, shares: npt.NDArray[np.float64], seed: int) -> None:
        """Order pictures that are shown by their `shares` [N], which add to 1."""
        self._expected = shares * len(shares)
        self._seed = seed
        self._epochs: dict[int, Indices] = {}

    @classmethod
    def uniform(cls, count: int, seed: int) -> EpochSampler:
        """All of `count` pictures equally often."""
        return cls(np.full(count, 1.0 / count), seed)

    def batch(self, step: int, size: int) -> Indices:
        """Indices [size] of the batch of a step, from 0; it may reach over an epoch's end."""
        count = len(self._expected)
        first, last = step * size, (step + 1) * size
        epochs = range(first // count, (last - 1) // count + 1)
        # Steps are asked for in order: earlier epochs do not come back.
        self._epochs = {e: self._epochs[e] if e in self._epochs else self._epoch(e) for e in epochs}
        row = np.concatenate([self._epochs[epoch] for epoch in epochs])
        return row[first - epochs[0] * count : last - epochs[0] * count]

    def _epoch(self, epoch: int) -> Indices:
        random = np.random.default_rng([self._seed, epoch])
        count = len(self._expected)
        # Shuffled first: neighbours share the rounding.
        shuffled = random.permutation(count)
        ends = np.round(np.cumsum(self._expected[shuffled]), 9)  # whole where sums of floats miss
        ends[-1] = count
        marks = np.floor(ends + random.random()).astype(np.int64)
        times = np.diff(marks, prepend=0)
        order: Indices = random.permutation(np.repeat(shuffled, times))
        return order


def average(module: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of a module's weights; its buffers are taken as they are.

    The decay rises to `decay` as (1 + n) / (10 + n), so that the first steps are forgotten soon.
    """

    def update(averaged: Tensors, current: Tensors, updates: Tensor | int) -> None:
        count = int(model.n_averaged)  # it lies with the processor: a device waits for nothing
        blend = get_ema_multi_avg_fn(min(decay, (1 + count) / (10 + count)))
        blend(averaged, current, updates)

    model = AveragedModel(module, multi_avg_fn=update)
    return model.eval().requires_grad_(False)


def seed_of(*key: int) -> int:
    """One seed, 0 to 2⁶³ - 1, for a key such as (seed, step)."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)


def prefetch(prepare: Callable[[int], Item], steps: Iterable[int]) -> Iterator[Item]:
    """What `prepare` makes of each step, made in a thread while the step before is trained on.

    A thread does: what is gathered lies in mapped files, and NumPy copies without the
    interpreter's lock, where torch's DataLoader would start a process and copy once more.
    """
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for step in steps:
            ready, waiting = waiting, pool.submit(prepare, step)
            if ready is not None:
                yield ready.result()
        if waiting is not None:
            yield waiting.result()
