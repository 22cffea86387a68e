"""Watching a run: progress, TensorBoard, sample grids, how far each layer has moved."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from porcelain.files import write_bytes
from training.generator.lora.adapters import update_sizes
from training.generator.lora.precision import computing_in
from training.generator.lora.previews import Sampling, grid, ready_to_sample, sample
from training.generator.lora.records import Reporter
from training.generator.lora.trainer import LoraTrainer, learning_rate

REPORT_SECONDS = 0.5
GRID_PROMPTS = 8
"""Kinds in a sample grid."""


class Observer:
    """Looks at a trainer after its steps; on the main process only."""

    def __init__(
        self,
        trainer: LoraTrainer,
        prompts: Sequence[str],
        work: Path,
        reporter: Reporter,
        logs: Path | None = None,
    ) -> None:
        """Begin to watch.

        Args:
            trainer: Before its first step.
            prompts: Of the sample grids.
            work: Folder of the grids.
            reporter: Hears of everything.
            logs: Folder for TensorBoard.
        """
        settings = trainer.settings
        self._trainer = trainer
        self._prompts = prompts
        self._work = work
        self._reporter = reporter
        self._sampling = Sampling(settings.sampling_steps, settings.guidance_scale, settings.side())
        self._writer = None
        if logs is not None:
            # What a run that was interrupted wrote after its last checkpoint is taken back.
            self._writer = SummaryWriter(str(logs), purge_step=trainer.steps_done + 1)
        self._told = trainer.steps_done
        self._when = time.monotonic()
        total = settings.total_steps()
        # Evenly over the run, and in any case at its end: the bundle has that one.
        marks = np.linspace(0, total, settings.previews + 1)[1:].round()
        self._previews = {total, *(int(mark) for mark in marks)}

    def __call__(self, step: int) -> None:
        """Look, after so many steps."""
        last = step == self._trainer.settings.total_steps()
        if last or step in self._previews or time.monotonic() - self._when >= REPORT_SECONDS:
            self._tell(step)
        if step in self._previews:
            self._preview(step)

    def close(self) -> None:
        """Write what is left to TensorBoard."""
        if self._writer is not None:
            self._writer.close()

    def _tell(self, step: int) -> None:
        history = self._trainer.settle()
        settings = self._trainer.settings
        self._reporter.step(
            step, settings.total_steps(), history.recent_loss(max(1, step - self._told))
        )
        if self._writer is not None:
            seconds = max(1e-9, time.monotonic() - self._when)
            for done in range(self._told + 1, step + 1):
                self._writer.add_scalar("train/loss", history.losses[done - 1], done)
                self._writer.add_scalar("train/gradient_norm", history.norms[done - 1], done)
                rate = learning_rate(settings, done - 1)
                self._writer.add_scalar("train/learning_rate", rate, done)
            self._writer.add_scalar("train/steps_per_second", (step - self._told) / seconds, step)
        self._told, self._when = step, time.monotonic()

    def _preview(self, step: int) -> None:
        sheet = self.sample_grid()
        file = grid_file(self._work, step)
        write_bytes(file, png(sheet))
        if self._writer is not None:
            self._writer.add_image("samples", np.asarray(sheet), step, dataformats="HWC")
            for layer, size in update_sizes(self._trainer.pipeline).items():
                self._writer.add_scalar(f"mean_update/{layer}", size, step)
        self._reporter.preview(file)
        self._when = time.monotonic()  # sampling is not training

    def sample_grid(self) -> Image.Image:
        """A grid by the model as it is."""
        trainer = self._trainer
        with (
            ready_to_sample(trainer.pipeline, trainer.device) as pipeline,
            computing_in(trainer.denoiser.dtype, trainer.device),
        ):
            return grid(sample(pipeline, self._prompts, self._sampling, trainer.settings.seed))


def grid_file(work: Path, step: int) -> Path:
    """Where the sample grid of a step lies."""
    return work / f"grid-{step:06}.png"


def png(picture: Image.Image) -> bytes:
    """The picture as a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
