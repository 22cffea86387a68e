"""What the stages of a run share: where they start, how one is trained, whom they report to."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeGuard

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from pydantic import ValidationError
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from transformers import CLIPTextModel, CLIPTokenizer

from porcelain.errors import UserError
from porcelain.files import SETTINGS_FILE, sha256_file, write_bytes
from training.classifier.optimisation import WeightAverage
from training.generator.pretraining.settings import (
    Precision,
    PretrainSettings,
    RuntimeSettings,
    StageSettings,
)


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 natively, and so at least twice as fast."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Matrix products and convolutions in bfloat16, sums and norms in float32, or all in float32.

    Args:
        device: Where the run is computed.
        precision: `auto` takes bfloat16 where it is fast.
    """
    enabled = precision == "bf16" or (precision == "auto" and computes_bfloat16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def fast_layout(device: torch.device) -> torch.memory_format:
    """The memory format in which convolutions and group norms together are fastest.

    Tensor cores want channels last; on a CPU group norm's backward pass in that layout is many
    times slower than what convolutions gain from it.
    """
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


@dataclass
class Schedule:
    """The rate of every step; the only thing that it remembers is where the fall began.

    Attributes:
        settings: Steps, hours, rate, warm-up and share of the fall.
        fall_from: The step at which the fall began; None before.
    """

    settings: StageSettings
    fall_from: int | None = None

    def rate(self, step: int, seconds: float) -> float:
        """The learning rate of `step`.

        Args:
            step: From 0, one after the other.
            seconds: Spent on training so far, over all runs.
        """
        settings = self.settings
        if self.fall_from is None and self._must_fall(step, seconds):
            self.fall_from = step
        rise = min(1.0, (step + 1) / max(1, settings.warmup_steps))
        if self.fall_from is None:
            return settings.learning_rate * rise
        done = (step - self.fall_from) / self.fall_steps(self.fall_from)
        # One minus the square root falls fast at first (Hägele et al., arXiv 2405.18392).
        return settings.learning_rate * rise * max(0.0, 1.0 - math.sqrt(done))

    def fall_steps(self, start: int) -> int:
        """How long a fall is that begins at `start`, so that it has its share of all steps."""
        fall = self.settings.fall
        return max(1, round(start * fall / (1.0 - fall)))

    def last_step(self, step: int, seconds: float) -> int:
        """The number of steps in all, as far as it can be told at `step`."""
        if self.fall_from is not None:
            return self.fall_from + self.fall_steps(self.fall_from)
        if self.settings.hours is not None and step > 0 and seconds > 0:
            by_time = round(step * self.settings.hours * 3600 / seconds)
            return min(self.settings.steps, max(step + 1, by_time))
        return self.settings.steps

    def is_over(self, step: int) -> bool:
        """Whether no step is left."""
        if self.settings.steps == 0:
            return True
        return self.fall_from is not None and step >= self.fall_from + self.fall_steps(
            self.fall_from
        )

    def _must_fall(self, step: int, seconds: float) -> bool:
        settings = self.settings
        if step >= round(settings.steps * (1.0 - settings.fall)):
            return True
        if settings.hours is None or step == 0:
            return False
        remaining = self.fall_steps(step) * seconds / step
        return seconds + remaining >= settings.hours * 3600


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
class Start:
    """A pipeline folder whose weights a run takes over.

    Attributes:
        folder: The pipeline folder.
        autoencoder: Its autoencoder, whose encoder is used as it is.
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
        """Its tokenizer."""
        return CLIPTokenizer.from_pretrained(self.folder / "tokenizer", local_files_only=True)

    def load_denoiser(self) -> tuple[CLIPTextModel, UNet2DConditionModel]:
        """Its text encoder and UNet, in float32."""
        options = {"dtype": torch.float32, "local_files_only": True}
        return (
            CLIPTextModel.from_pretrained(self.folder / "text_encoder", **options),
            UNet2DConditionModel.from_pretrained(self.folder / "unet", **options),
        )


def goes_on(start: Start | None) -> TypeGuard[Start]:
    """Whether a whole base is gone on with, rather than nothing or an autoencoder alone."""
    return start is not None and start.settings is not None


def latent_factor(autoencoder: AutoencoderKL) -> int:
    """How many pixels a side fall to one latent."""
    return int(2 ** (len(autoencoder.config.block_out_channels) - 1))


def open_start(base: Path | None, autoencoder: Path | None) -> Start | None:
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
        return Start(base, _load_autoencoder(base, "--base"), settings)
    if autoencoder is not None:
        return Start(autoencoder, _load_autoencoder(autoencoder, "--autoencoder"), None)
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
