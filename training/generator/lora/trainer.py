"""LoRA training: the objective, and what the training loop is given at each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from diffusers import DDPMScheduler, StableDiffusionPipeline
from torch import Tensor

from porcelain.errors import UserError
from training.generator.lora.inputs import Batch, StepRandomness, TrainingInputs
from training.generator.lora.model import DTYPES, Denoiser
from training.generator.lora.settings import LoraSettings
from training.loop import EpochSampler, LoopSettings, TrainingLoop, WarmupCosine, prefetch


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
            snr_gamma: The bound of `min_snr_weights`; None weighs all levels alike.

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
        loop: Steps, history and checkpoints.
        randomness: The random numbers of each step.
    """

    def __init__(
        self,
        pipeline: StableDiffusionPipeline,
        inputs: TrainingInputs,
        settings: LoraSettings,
        work: Path,
        accelerator: Accelerator,
    ) -> None:
        """Set up; go on from the checkpoint in `work` if there is one.

        Args:
            pipeline: With adapters to start from, in float32.
            inputs: What to learn from.
            settings: The resolved settings.
            work: Folder of the checkpoint.
            accelerator: Device, precision and processes.

        Raises:
            UserError: The batch cannot be divided as asked, the base cannot be trained, or the
                checkpoint is of another version.
        """
        self.pipeline = pipeline
        self.settings = settings
        self.accelerator = accelerator
        self.device = accelerator.device
        self._inputs = inputs
        self._check_batch()
        self._objective = Objective(
            DDPMScheduler.from_config(pipeline.scheduler.config), settings.snr_gamma
        )
        sampler = EpochSampler(inputs.shares, settings.seed)
        self.randomness = StepRandomness(
            sampler, settings, inputs.latents.shape, self._objective.levels
        )
        dtype = DTYPES[settings.mixed_precision]
        self.denoiser = Denoiser(pipeline, dtype, text_encoder=settings.text_encoder)
        if settings.gradient_checkpointing:
            self.denoiser.enable_gradient_checkpointing()
        if self.device.type == "cuda":  # the layout that tensor cores want
            self.denoiser.unet.to(memory_format=torch.channels_last)
        self.denoiser.to(self.device).train()
        if settings.compile:
            self.denoiser.compile()
        optimizer = torch.optim.AdamW(
            [p for p in self.denoiser.parameters() if p.requires_grad],
            lr=settings.peak_rate(),
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self._replica = accelerator.prepare(self.denoiser)
        self.loop = TrainingLoop(
            self.denoiser,
            optimizer,
            schedule_of(settings),
            accelerator,
            work / CHECKPOINT_FILE,
            LoopSettings(
                seed=settings.seed,
                gradient_norm=settings.gradient_norm,
                checkpoint_seconds=settings.checkpoint_seconds,
                loss_scaling=dtype == torch.float16,
                remedy="lower --learning-rate, or choose --mixed-precision bf16 or no",
            ),
        )

    def _check_batch(self) -> None:
        processes, settings = self.accelerator.num_processes, self.settings
        least = processes * settings.accumulation
        if settings.batch_size < least:
            raise UserError(
                f"--batch-size {settings.batch_size} cannot be divided into --accumulation "
                f"{settings.accumulation} passes on {processes} process(es); choose at least "
                f"{least}."
            )

    def train(self, on_step: Callable[[int], None] | None = None) -> None:
        """Train to the last step.

        Args:
            on_step: Called on the main process with the number of steps done.

        Raises:
            UserError: The loss is not a number any more.
        """
        batches = self.batches(range(self.loop.step, self.settings.total_steps()))
        self.loop.run(lambda step: self.losses(next(batches)), on_step)

    def batches(self, steps: range) -> Iterator[Batch]:
        """This process's share of the batch of each step, prepared in the background."""
        mine = slice(self.accelerator.process_index, None, self.accelerator.num_processes)
        return prefetch(
            lambda step: self._inputs.batch(self.randomness.sample(step), mine, self.device), steps
        )

    def losses(self, batch: Batch) -> Iterator[Tensor]:
        """The loss of each pass over this process's share of a batch."""
        settings, accelerator = self.settings, self.accelerator
        pieces = batch.split(settings.accumulation)
        for number, piece in enumerate(pieces, start=1):
            last = number == len(pieces)
            with nullcontext() if last else accelerator.no_sync(self._replica):
                # Gradients are averaged over processes, and meant to be over the whole batch.
                share = accelerator.num_processes / settings.batch_size
                yield self.picture_losses(piece).sum() * share

    def picture_losses(self, batch: Batch) -> Tensor:
        """Weighted loss of each picture [B]."""
        noisy = self._objective.noisy(batch.latents, batch.noise, batch.timesteps)
        answer = self._replica(noisy, batch.timesteps, batch.texts)
        target = self._objective.target(batch.latents, batch.noise, batch.timesteps)
        return self._objective.losses(answer, target, batch.timesteps)

    def finish(self) -> StableDiffusionPipeline:
        """The trained pipeline, its frozen weights back in float32; nothing trains it any more."""
        self.loop.finish().float()
        return self.pipeline


def schedule_of(settings: LoraSettings) -> WarmupCosine:
    """The learning-rate schedule of resolved settings."""
    steps = settings.total_steps()
    return WarmupCosine(steps, settings.warmup * steps, constant=settings.schedule == "constant")
