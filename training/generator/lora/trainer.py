"""The training run: steps on cached latents, checkpoints, and a list of what is trained.

A run is a function of its settings and data alone: what is random in a step is drawn from (seed,
step), so that a run that was interrupted ends as one that was not.
"""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler, StableDiffusionPipeline
from torch import Tensor

from porcelain.errors import UserError
from porcelain.files import write_bytes
from training.generator.lora.denoiser import Denoiser
from training.generator.lora.draws import Draws, mixed_seed
from training.generator.lora.material import Inputs, Material
from training.generator.lora.objective import Objective
from training.generator.lora.precision import DTYPES
from training.generator.lora.rarity import Order
from training.generator.lora.records import History
from training.generator.lora.settings import LoraSettings

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
