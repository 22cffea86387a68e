"""What the stages of a run share: where they start, how one is trained, whom they report to."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeGuard

import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL, UNet2DConditionModel
from pydantic import ValidationError
from timm.optim import param_groups_weight_decay  # type: ignore[attr-defined]
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from transformers import CLIPTextModel, CLIPTokenizer

from porcelain.errors import UserError
from porcelain.files import SETTINGS_FILE, sha256_file
from training.generator.pretraining.settings import PretrainSettings, StageSettings
from training.loop import LoopSettings, Stateful, TrainingLoop, WarmupStableDecay, seed_of
from training.processes import computes_bfloat16, computing_in

SMOOTHED_STEPS = 50
"""Steps whose mean loss is reported."""
LOGGED_STEPS = 20
"""Steps between two entries of a log; a GPU stops whenever it is asked for a number."""


class Objective(Protocol):
    """What a stage minimises."""

    def __call__(self, step: int) -> dict[str, Tensor]:
        """The terms of the loss of `step`, already weighted; they are added up."""


@dataclass(frozen=True)
class StageProgress:
    """Where a stage stands after a step.

    Attributes:
        stage: Name of the stage.
        step: Steps done.
        total: Steps in all, as far as known.
        batch_size: Pictures per step.
        loss: Mean of the last steps.
        pictures_per_second: Training pictures per second of this run.
    """

    stage: str
    step: int
    total: int
    batch_size: int
    loss: float
    pictures_per_second: float


@dataclass(frozen=True)
class Reporter:
    """What a caller hears while pretraining goes on. Every hook may be left out."""

    message: Callable[[str], None] = lambda text: None
    preparing: Callable[[str, int, int], None] = lambda what, done, total: None
    step: Callable[[StageProgress], None] = lambda progress: None


@dataclass(frozen=True)
class RunContext:
    """What surrounds every stage of one run.

    Attributes:
        settings: The resolved settings.
        work: Folder of everything unfinished.
        accelerator: Where it is computed.
        reporter: Hears of progress.
        logs: Folder for TensorBoard; None writes none.
    """

    settings: PretrainSettings
    work: Path
    accelerator: Accelerator
    reporter: Reporter
    logs: Path | None = None

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        device: torch.device = self.accelerator.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """The type that matrices are multiplied in; by default bfloat16 where that is fast."""
        precision = self.settings.runtime.precision
        half = precision == "bf16" or (precision == "auto" and computes_bfloat16(self.device))
        return torch.bfloat16 if half else torch.float32

    @property
    def previews(self) -> Path:
        """Folder of the sample grids and reconstructions made on the way."""
        folder = self.work / "previews"
        folder.mkdir(exist_ok=True)
        return folder


@dataclass(frozen=True)
class StageStats:
    """What training a stage took.

    Attributes:
        steps: Optimiser steps; 0 where the stage was taken from another base.
        batch_size: Pictures per step.
        hours: Hours of training, over all runs.
        loss: Mean of the last steps.
    """

    steps: int = 0
    batch_size: int = 0
    hours: float = 0.0
    loss: float = 0.0


def train_stage(
    name: str,
    module: nn.Module,
    settings: StageSettings,
    context: RunContext,
    objective: Objective,
    preview: Callable[[int, nn.Module], None],
    companion: Stateful | None = None,
) -> StageStats:
    """Train one stage to the end of its schedule, or go on with it where it was interrupted.

    Args:
        name: Name of the stage, for its checkpoint, for progress and logs.
        module: On its device, with the weights to start from; it carries the averaged weights
            afterwards, in evaluation mode.
        settings: How to optimise.
        context: The run.
        objective: The loss of a step.
        preview: Called every `preview_minutes` with the step and a module with averaged weights.
        companion: What the objective trains beside, if anything.
    """
    loop = build_loop(name, module, settings, context, companion)
    monitor = _Monitor(name, loop, settings, context, preview)
    module.train()

    def losses(step: int) -> list[Tensor]:
        with computing_in(context.dtype, context.device):
            monitor.terms = objective(step)
        return [torch.stack(list(monitor.terms.values())).sum()]

    try:
        loop.run(losses, monitor)
    finally:
        monitor.close()
    loop.finish()
    return StageStats(
        loop.step,
        settings.batch_size,
        round(loop.seconds / 3600, 3),
        round(loop.history.recent_loss(SMOOTHED_STEPS), 5) if loop.step else 0.0,
    )


def build_loop(
    name: str,
    module: nn.Module,
    settings: StageSettings,
    context: RunContext,
    companion: Stateful | None = None,
) -> TrainingLoop:
    """The training loop of a stage; see `train_stage`."""
    optimizer = torch.optim.AdamW(
        param_groups_weight_decay(module, settings.weight_decay),
        lr=settings.learning_rate,
        betas=(0.9, 0.99),
        fused=True,
    )
    return TrainingLoop(
        module,
        optimizer,
        WarmupStableDecay(settings.steps, settings.warmup_steps, settings.fall, settings.hours),
        context.accelerator,
        context.work / f"{name}.pt",
        LoopSettings(
            seed=context.settings.seed,
            gradient_norm=settings.gradient_norm,
            averaging=settings.averaging,
            checkpoint_seconds=60 * context.settings.runtime.checkpoint_minutes,
        ),
        {} if companion is None else {"companion": companion},
    )


class _Monitor:
    """Reports the progress of a stage, logs its losses, and makes previews.

    Attributes:
        terms: Terms of the last step's loss.
    """

    def __init__(
        self,
        name: str,
        loop: TrainingLoop,
        settings: StageSettings,
        context: RunContext,
        preview: Callable[[int, nn.Module], None],
    ) -> None:
        self.terms: dict[str, Tensor] = {}
        self._name = name
        self._loop = loop
        self._batch_size = settings.batch_size
        self._context = context
        self._preview = preview
        logs = context.logs
        self._writer = None if logs is None else SummaryWriter(str(logs / name))
        self._started, self._first = time.perf_counter(), loop.step
        self._previewed = self._started

    def __call__(self, step: int) -> None:
        loop, now = self._loop, time.perf_counter()
        if self._context.device.type == "cpu" or step % LOGGED_STEPS == 0:
            loop.settle()
        loss = loop.history.recent_loss(SMOOTHED_STEPS)
        total = step
        if isinstance(loop.schedule, WarmupStableDecay):
            total = loop.schedule.last_step(step, loop.seconds)
        rate = (step - self._first) * self._batch_size / max(now - self._started, 1e-9)
        self._context.reporter.step(
            StageProgress(self._name, step, total, self._batch_size, loss, rate)
        )
        if self._writer is not None and step % LOGGED_STEPS == 0:
            self._writer.add_scalar("loss", loss, step)
            self._writer.add_scalar("rate", loop.optimizer.param_groups[0]["lr"], step)
            for term, value in self.terms.items():
                self._writer.add_scalar(f"terms/{term}", float(value.detach()), step)
        if now - self._previewed > 60 * self._context.settings.runtime.preview_minutes:
            self._preview(step, loop.averaged)
            self._previewed = time.perf_counter()

    def close(self) -> None:
        """Write what is left of the log."""
        if self._writer is not None:
            self._writer.close()


def step_generator(seed: int, stage: int, step: int, device: torch.device) -> torch.Generator:
    """What is random in one step of one stage."""
    return torch.Generator(device).manual_seed(seed_of(seed, stage, step))


ARCHITECTURE: Final = (
    "channels",
    "groups",
    "layers",
    "heads",
    "text_width",
    "text_layers",
    "text_length",
)
"""Settings of the second stage that its weights prescribe."""

FEATURES: Final = ("perceptual", "perceptual_backbone")
"""Settings of the first stage that stay the caller's: its decoder may learn by other features."""

TRAINED: Final = ("vae", "tokenizer", "text_encoder", "unet")


@dataclass(frozen=True)
class InitialWeights:
    """A pipeline folder whose weights a run takes over.

    Attributes:
        folder: The pipeline folder.
        autoencoder: The autoencoder of the folder, whose encoder is used as it is.
        settings: How all of it was trained, where text encoder and UNet are gone on with; None
            where the autoencoder alone is taken.
    """

    folder: Path
    autoencoder: AutoencoderKL
    settings: PretrainSettings | None

    def digests(self) -> dict[str, str]:
        """SHA-256 of every file that the run takes over."""
        parts = TRAINED if self.settings else TRAINED[:1]
        files = [path for part in parts for path in sorted((self.folder / part).iterdir())]
        return {f"{p.parent.name}/{p.name}": sha256_file(p) for p in files if p.is_file()}

    def summary(self) -> dict[str, object]:
        """What is noted beside the result: the folder's name, and the digests of what it gave."""
        return {"name": self.folder.resolve().name, "digests": self.digests()}

    def fit(self, settings: PretrainSettings) -> PretrainSettings:
        """The settings with what the weights prescribe.

        Raises:
            UserError: The size of the pictures does not suit them.
        """
        if self.settings is not None:
            if settings.size != self.settings.size:
                raise UserError(
                    f"--base {self.folder} makes pictures of {self.settings.size} pixels a side; "
                    f"leave out --size {settings.size}."
                )
            theirs = self.settings.diffusion
            taken = {name: getattr(theirs, name) for name in ARCHITECTURE}
            second = settings.diffusion.model_copy(update=taken)
            features = {name: getattr(settings.autoencoder, name) for name in FEATURES}
            first = self.settings.autoencoder.model_copy(update=features)
            return settings.model_copy(
                update={
                    "autoencoder": first,
                    "diffusion": second,
                    "template": self.settings.template,
                    "resize": self.settings.resize,
                }
            )
        factor = latent_factor(self.autoencoder) * 2 ** (len(settings.diffusion.channels) - 1)
        if settings.size % factor:
            raise UserError(
                f"--size {settings.size} does not fit the given autoencoder; choose a multiple of "
                f"{factor}."
            )
        return settings

    def load_tokenizer(self) -> CLIPTokenizer:
        """Load the tokenizer of the folder."""
        return CLIPTokenizer.from_pretrained(self.folder / "tokenizer", local_files_only=True)

    def load_denoiser(self) -> tuple[CLIPTextModel, UNet2DConditionModel]:
        """Load text encoder and UNet of the folder, in float32."""
        options = {"dtype": torch.float32, "local_files_only": True}
        return (
            CLIPTextModel.from_pretrained(self.folder / "text_encoder", **options),
            UNet2DConditionModel.from_pretrained(self.folder / "unet", **options),
        )


def continues_base(start: InitialWeights | None) -> TypeGuard[InitialWeights]:
    """Whether a whole base is gone on with, rather than nothing or an autoencoder alone."""
    return start is not None and start.settings is not None


def latent_factor(autoencoder: AutoencoderKL) -> int:
    """How many pixels a side fall to one latent."""
    return int(2 ** (len(autoencoder.config.block_out_channels) - 1))


def open_initial_weights(base: Path | None, autoencoder: Path | None) -> InitialWeights | None:
    """What to start from; None trains everything from scratch.

    Args:
        base: A folder that `porcelain generator pretrain` has left, to go on with.
        autoencoder: A pipeline folder, of which the autoencoder alone is used.

    Raises:
        UserError: Both are given, or a folder is not what it should be.
    """
    if base is not None and autoencoder is not None:
        raise UserError("--base brings its own autoencoder; leave out --autoencoder.")
    if base is not None:
        settings = _read_settings(base)
        return InitialWeights(base, _load_autoencoder(base, "--base"), settings)
    if autoencoder is not None:
        return InitialWeights(autoencoder, _load_autoencoder(autoencoder, "--autoencoder"), None)
    return None


def _read_settings(base: Path) -> PretrainSettings:
    try:
        found = json.loads((base / SETTINGS_FILE).read_text(encoding="utf-8"))
        return PretrainSettings.model_validate(found)
    except (OSError, ValueError, ValidationError) as error:
        raise UserError(
            f"--base {base} is not what `porcelain generator pretrain` leaves: {SETTINGS_FILE} is "
            "missing or of another form. To fine-tune another model use `porcelain generator "
            "train`."
        ) from error


def _load_autoencoder(folder: Path, option: str) -> AutoencoderKL:
    try:
        return AutoencoderKL.from_pretrained(
            folder, subfolder="vae", dtype=torch.float32, local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise UserError(
            f"{option} {folder} holds no autoencoder; give a Stable Diffusion pipeline "
            "folder with vae/config.json and its weights."
        ) from error
