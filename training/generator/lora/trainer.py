"""The training run of a LoRA: objective, optimiser steps on cached latents, checkpoints."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from diffusers import DDPMScheduler, StableDiffusionPipeline
from torch import Tensor

from porcelain.errors import UserError
from porcelain.files import write_bytes
from training.generator.lora.inputs import Draws, Inputs, Material, Order, mixed_seed
from training.generator.lora.model import DTYPES, Denoiser
from training.generator.lora.settings import LoraSettings


@dataclass(frozen=True)
class Reporter:
    """What a caller hears while training goes on. Every hook may be left out.

    Attributes:
        message: One line for people.
        encoding: Pictures encoded, and pictures in all.
        step: Steps done, steps in all, and the mean loss since the last call.
        preview: The file of a new sample grid.
    """

    message: Callable[[str], None] = lambda text: None
    encoding: Callable[[int, int], None] = lambda done, total: None
    step: Callable[[int, int, float], None] = lambda done, total, loss: None
    preview: Callable[[Path], None] = lambda file: None


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


PREDICTIONS = ("epsilon", "v_prediction")


class Objective:
    """Noisy latents, target and loss of Stable Diffusion 1.x (epsilon) and 2.x (velocity).

    Attributes:
        levels: Number of noise levels.
    """

    def __init__(self, scheduler: DDPMScheduler, snr_gamma: float | None) -> None:
        """Train on the noise schedule of `scheduler`.

        Args:
            scheduler: Made from the base's configuration.
            snr_gamma: See `min_snr_weights`; None weighs all levels alike.

        Raises:
            UserError: The base predicts something else.
        """
        self._prediction = str(scheduler.config.prediction_type)
        if self._prediction not in PREDICTIONS:
            raise UserError(
                f"The base predicts {self._prediction!r}; only {' and '.join(PREDICTIONS)} models "
                "can be fine-tuned."
            )
        self._scheduler = scheduler
        self.levels = int(scheduler.config.num_train_timesteps)
        self._weights = torch.ones(self.levels)
        if snr_gamma is not None:
            self._weights = min_snr_weights(
                scheduler.alphas_cumprod, snr_gamma, velocity=self._prediction == "v_prediction"
            )

    def noisy(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Latents [B, C, h, w] with as much noise as their level asks for."""
        noisy: Tensor = self._scheduler.add_noise(latents, noise, timesteps)
        return noisy

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What the model should answer: [B, C, h, w]."""
        if self._prediction == "epsilon":
            return noise
        velocity: Tensor = self._scheduler.get_velocity(latents, noise, timesteps)
        return velocity

    def losses(self, answer: Tensor, target: Tensor, timesteps: Tensor) -> Tensor:
        """Weighted mean squared error per picture, in float32: [B]."""
        squared = F.mse_loss(answer.float(), target.float(), reduction="none")
        return squared.flatten(1).mean(1) * self._weights.to(answer.device)[timesteps]


def min_snr_weights(alphas_cumprod: Tensor, gamma: float, *, velocity: bool) -> Tensor:
    """Weight of each noise level's squared error: min(SNR, gamma), as a share of the target's.

    Levels with little noise are easy and pull the weights their own way; bounding what they count
    converges faster. For a model that predicts the noise the weight is min(SNR, gamma) / SNR, for
    one that predicts velocity min(SNR, gamma) / (SNR + 1) (Hang et al., arXiv 2303.09556,
    sections 3.4 and 4.2).

    Args:
        alphas_cumprod: Share of signal in each level's variance [T].
        gamma: The bound.
        velocity: Whether the model predicts velocity.
    """
    signal, noise = alphas_cumprod.double(), 1 - alphas_cumprod.double()
    # Multiplied out by the noise's share, so that a level of pure noise divides nothing by zero.
    bounded = torch.minimum(signal, gamma * noise)
    weights = (
        bounded if velocity else torch.where(signal > 0, bounded / signal.clamp_min(1e-30), 1.0)
    )
    return weights.float()


CHECKPOINT_FILE = "checkpoint.pt"


class LoraTrainer:
    """Trains the adapters of a pipeline.

    Attributes:
        denoiser: What is trained, in one module.
        pipeline: The pipeline; its UNet (and text encoder) is what is trained.
        parameters: What is trained, by name: a dictionary, because an iterator that the optimiser
            has read would leave nothing to clip.
        history: Every step so far, as far as it has been settled.
        steps_done: Optimiser steps so far.
        draws: The random numbers of each step.
    """

    def __init__(
        self,
        pipeline: StableDiffusionPipeline,
        material: Material,
        settings: LoraSettings,
        work: Path,
        accelerator: Accelerator,
    ) -> None:
        """Set up; go on from the checkpoint in `work` if there is one.

        Args:
            pipeline: With adapters to start from, in float32.
            material: What to learn from.
            settings: The resolved settings.
            work: Folder of the checkpoint.
            accelerator: Device, precision and processes.

        Raises:
            UserError: The batch cannot be divided as asked, or the base cannot be trained.
        """
        self.pipeline = pipeline
        self.settings = settings
        self.accelerator = accelerator
        self.device = accelerator.device
        self.history = History()
        self.steps_done = 0
        self._material = material
        self._work = work
        self._pending: list[tuple[Tensor, Tensor]] = []
        self._check_batch()
        self._objective = Objective(
            DDPMScheduler.from_config(pipeline.scheduler.config), settings.snr_gamma
        )
        order = Order(material.shares, settings.seed)
        self.draws = Draws(order, settings, material.latents.shape, self._objective.levels)
        dtype = DTYPES[settings.mixed_precision]
        self.denoiser = Denoiser(pipeline, dtype, text_encoder=settings.text_encoder)
        # Small gradients would vanish in float16; elsewhere this does nothing.
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=dtype == torch.float16)
        if settings.gradient_checkpointing:
            self.denoiser.save_memory()
        self.parameters = {n: p for n, p in self.denoiser.named_parameters() if p.requires_grad}
        self._prepare()

    def _check_batch(self) -> None:
        processes, settings = self.accelerator.num_processes, self.settings
        if settings.batch_size < processes * settings.accumulation:
            raise UserError(
                f"--batch-size {settings.batch_size} cannot be divided into --accumulation "
                f"{settings.accumulation} passes on {processes} process(es); choose at least "
                f"{processes * settings.accumulation}."
            )

    def _prepare(self) -> None:
        """Move to the device, resume, and let accelerate wrap what it has to."""
        settings = self.settings
        if self.device.type == "cuda":  # the layout that tensor cores want
            self.denoiser.unet.to(memory_format=torch.channels_last)
        self.denoiser.to(self.device).train()
        if settings.compile:
            self.denoiser.compile()
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(),
            lr=settings.peak_rate(),
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.replica = self.accelerator.prepare(self.denoiser)
        self._resume()

    def train(self, after_step: Callable[[int], None] | None = None) -> None:
        """Train to the last step.

        Args:
            after_step: Called on the main process with the number of steps done.

        Raises:
            UserError: The loss is no number any more.
        """
        saved = time.monotonic()
        for inputs in self.stream(self.steps_done, self.settings.total_steps()):
            self.learn(inputs)
            if not self.accelerator.is_main_process:
                self._pending.clear()
                continue
            if after_step is not None:
                after_step(self.steps_done)
            if time.monotonic() - saved >= self.settings.checkpoint_seconds:
                self.save()
                saved = time.monotonic()
        if self.accelerator.is_main_process:
            self.save()

    def stream(self, first: int, last: int) -> Iterator[Inputs]:
        """This process's inputs of some steps, each prepared while the one before is learned."""
        mine = slice(self.accelerator.process_index, None, self.accelerator.num_processes)

        def prepare(step: int) -> Inputs:
            return self._material.inputs(self.draws.of(step), mine, self.device)

        if first >= last:
            return
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(prepare, first)
            for step in range(first, last):
                ready = waiting.result()
                if step + 1 < last:
                    waiting = pool.submit(prepare, step + 1)
                yield ready

    def learn(self, inputs: Inputs) -> None:
        """One optimiser step from this process's share of the batch."""
        settings, accelerator = self.settings, self.accelerator
        # For dropout, where a base has any.
        torch.manual_seed(
            mixed_seed(settings.seed, self.steps_done) + self.accelerator.process_index
        )
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(settings, self.steps_done)
        pieces = inputs.split(settings.accumulation)
        total = torch.zeros((), device=self.device)
        for number, piece in enumerate(pieces, start=1):
            last = number == len(pieces)
            with nullcontext() if last else accelerator.no_sync(self.replica):
                # Gradients are averaged over processes, and meant to be over the whole batch.
                loss = self._losses(piece).sum() * (accelerator.num_processes / settings.batch_size)
                accelerator.backward(self._scaler.scale(loss))
            total += loss.detach()
        self._scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), settings.gradient_norm)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        self.optimizer.zero_grad()
        self.steps_done += 1
        # Not read here: that would make the CPU wait for the device at every step.
        self._pending.append((accelerator.reduce(total, reduction="mean"), norm))

    def _losses(self, inputs: Inputs) -> Tensor:
        """Weighted loss of each picture [B]."""
        noisy = self._objective.noisy(inputs.latents, inputs.noise, inputs.timesteps)
        answer = self.replica(noisy, inputs.timesteps, inputs.texts)
        target = self._objective.target(inputs.latents, inputs.noise, inputs.timesteps)
        return self._objective.losses(answer, target, inputs.timesteps)

    def settle(self) -> History:
        """Read what the device has computed since the last time.

        Raises:
            UserError: The loss is no number any more.
        """
        for loss, norm in self._pending:
            self.history.losses.append(float(loss))
            self.history.norms.append(float(norm))
        self._pending.clear()
        if self.history.losses and not math.isfinite(self.history.losses[-1]):
            raise UserError(
                f"The loss is no number any more at step {self.steps_done}; lower "
                "--learning-rate, or choose --mixed-precision bf16 or no."
            )
        return self.history

    def finished(self) -> StableDiffusionPipeline:
        """The trained pipeline, its frozen weights back in float32; nothing trains it any more."""
        self.settle()
        self.denoiser.float().eval()
        return self.pipeline

    def save(self) -> None:
        """Write the checkpoint: the file is the last one or this one, never half of it."""
        history = self.settle()
        buffer = io.BytesIO()
        torch.save(
            {
                "parameters": {name: p.detach() for name, p in self.parameters.items()},
                "optimizer": self.optimizer.state_dict(),
                "scaler": self._scaler.state_dict(),
                "history": json.dumps(vars(history)),
                "steps_done": self.steps_done,
            },
            buffer,
        )
        write_bytes(self._work / CHECKPOINT_FILE, buffer.getvalue())

    def _resume(self) -> None:
        path = self._work / CHECKPOINT_FILE
        if not path.is_file():
            return
        content = torch.load(path, map_location=self.device, weights_only=True)
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(content["parameters"][name])
        self.optimizer.load_state_dict(content["optimizer"])
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(content["scaler"])
        self.history = History(**json.loads(content["history"]))
        self.steps_done = int(content["steps_done"])


def learning_rate(settings: LoraSettings, step: int) -> float:
    """The rate of a step, from 0: a linear rise, then constant or half a cosine down to zero."""
    total = settings.total_steps()
    rise = min(1.0, (step + 1) / max(1.0, settings.warmup * total))
    if settings.schedule == "constant":
        return settings.peak_rate() * rise
    return settings.peak_rate() * rise * 0.5 * (1.0 + math.cos(math.pi * step / total))
