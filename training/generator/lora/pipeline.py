"""From photographs to a generator bundle: every step of `porcelain generator train`."""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from porcelain.bundle import (
    LORA_FILE,
    SPLIT_FILE,
    Bundle,
    GeneratorInfo,
    SamplingDefaults,
    check_name,
    load_bundle,
    write_manifest,
)
from porcelain.files import (
    SETTINGS_FILE,
    atomic_folder,
    check_free,
    write_bytes,
    write_json,
    write_text,
)
from porcelain.vocabulary import TAXONOMY_FILE
from training.data.check import refuse_misleading
from training.data.digests import TRAIN_PART, learned_by_base, write_digests
from training.data.split import write_split
from training.generator.lora.model import (
    Sampling,
    grid,
    ready_to_sample,
    sample,
    save_adapters,
    update_sizes,
)
from training.generator.lora.preparation import (
    LoraRun,
    combinations_of,
    labels_that_occur,
    prepare_run,
)
from training.generator.lora.settings import LoraSettings
from training.generator.lora.trainer import LoraTrainer, Reporter, schedule_of
from training.generator.lora.verification import Verification, verify
from training.processes import computing_in

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
            prompts: Prompts of the sample grids.
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
            self._writer = SummaryWriter(str(logs), purge_step=trainer.loop.step + 1)
        self._reported = trainer.loop.step
        self._reported_at = time.monotonic()
        total = settings.total_steps()
        # Evenly over the run, and in any case at its end: the bundle has that one.
        marks = np.linspace(0, total, settings.previews + 1)[1:].round()
        self._previews = {total, *(int(mark) for mark in marks)}

    def __call__(self, step: int) -> None:
        """Look, after so many steps."""
        last = step == self._trainer.settings.total_steps()
        if last or step in self._previews or time.monotonic() - self._reported_at >= REPORT_SECONDS:
            self._report(step)
        if step in self._previews:
            self._preview(step)

    def close(self) -> None:
        """Write what is left to TensorBoard."""
        if self._writer is not None:
            self._writer.close()

    def _report(self, step: int) -> None:
        history = self._trainer.loop.settle()
        settings = self._trainer.settings
        self._reporter.step(
            step, settings.total_steps(), history.recent_loss(max(1, step - self._reported))
        )
        if self._writer is not None:
            seconds = max(1e-9, time.monotonic() - self._reported_at)
            schedule = schedule_of(settings)
            for done in range(self._reported + 1, step + 1):
                self._writer.add_scalar("train/loss", history.losses[done - 1], done)
                self._writer.add_scalar("train/gradient_norm", history.norms[done - 1], done)
                rate = settings.peak_rate() * schedule.factor(done - 1)
                self._writer.add_scalar("train/learning_rate", rate, done)
            self._writer.add_scalar(
                "train/steps_per_second", (step - self._reported) / seconds, step
            )
        self._reported, self._reported_at = step, time.monotonic()

    def _preview(self, step: int) -> None:
        sheet = self.sample_grid()
        file = grid_file(self._work, step)
        write_bytes(file, png(sheet))
        if self._writer is not None:
            self._writer.add_image("samples", np.asarray(sheet), step, dataformats="HWC")
            for layer, size in update_sizes(self._trainer.pipeline).items():
                self._writer.add_scalar(f"mean_update/{layer}", size, step)
        self._reporter.preview(file)
        self._reported_at = time.monotonic()  # sampling is not training

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


GRID_FILE = "grid.png"
TRAINING_FILE = "training.json"


def write_generator(folder: Path, run: LoraRun, name: str) -> Verification:
    """Save the adapters, prove them in a fresh process, and write the bundle's other files.

    Args:
        folder: Where to write.
        run: The trained LoRA; its pipeline is in float32 afterwards.
        name: The model's name.

    Raises:
        PorcelainError: The saved adapters do not do what the trained model does.
    """
    trainer, settings = run.trainer, run.trainer.settings
    pipeline = trainer.finish()
    save_adapters(pipeline, (folder / LORA_FILE).parent)
    sampling = Sampling(settings.sampling_steps, settings.guidance_scale, settings.side())
    verification = verify(
        folder,
        run.base.folder,
        pipeline,
        run.rarest_prompts(1)[0],
        sampling,
        trainer.device,
        trainer.denoiser.dtype,
    )
    shutil.copyfile(grid_file(run.folder, settings.total_steps()), folder / GRID_FILE)
    write_split(folder / SPLIT_FILE, run.split)
    learned = [record.file_name for record in run.records]
    write_digests(folder, run.root, {TRAIN_PART: learned}, learned_by_base(run.base.folder))
    taxonomy = run.taxonomy.model_dump(exclude_none=True)
    write_text(
        folder / TAXONOMY_FILE, yaml.safe_dump(taxonomy, allow_unicode=True, sort_keys=False)
    )
    write_json(folder / SETTINGS_FILE, settings.model_dump(mode="json"))
    write_json(
        folder / TRAINING_FILE,
        {
            "photographs": learned,
            "losses": trainer.loop.history.losses,
            "mean_updates": update_sizes(pipeline),
            "verification": vars(verification),
        },
    )
    info = GeneratorInfo(
        base=run.base.reference,
        prompt_template=settings.template,
        labels=labels_that_occur(run.records),
        combinations=combinations_of(run.records),
        rank=settings.rank,
        alpha=settings.alpha_or_rank(),
        text_encoder=settings.text_encoder,
        sampling=SamplingDefaults(
            steps=sampling.steps,
            guidance_scale=sampling.guidance_scale,
            width=sampling.size,
            height=sampling.size,
        ),
    )
    write_manifest(folder, kind="generator", name=name, dataset_digest=run.digest, generator=info)
    return verification


def train_generator(
    data: Path,
    out: Path,
    settings: LoraSettings,
    *,
    split: Path | None = None,
    logs: Path | None = None,
    cache: Path | None = None,
    name: str = "porcelain-generator",
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> Bundle:
    """Fine-tune a base with LoRA, prove the saved file, and leave a bundle at `out`.

    Interrupted, it goes on from the last checkpoint when called again with equal arguments.

    Args:
        data: A dataset folder.
        out: Where the bundle is to appear.
        settings: How to train.
        split: A `split.json`; by default the dataset's own, or one made from the seed.
        logs: Folder for TensorBoard; none by default.
        cache: Folder in which latents stay for other runs; by default they go when done.
        name: The model's name.
        overwrite: Replace what is at `out`.
        reporter: Hears of progress.

    Returns:
        The verified bundle.

    Raises:
        UserError: Arguments, dataset, split or base do not fit.
    """
    reporter = reporter or Reporter()
    check_name(name)
    check_free(out, overwrite, [data, Path(settings.base), *([cache] if cache else [])])
    refuse_misleading(data, split)
    work = out.parent / f".{out.name}.training"
    run = prepare_run(data, work, settings, split=split, cache=cache, reporter=reporter)
    fit(run, reporter, logs)
    accelerator = run.trainer.accelerator
    if accelerator.is_main_process:
        reporter.message("Loading and sampling the result in a fresh process")
        with atomic_folder(out, overwrite=overwrite) as folder:
            write_generator(folder, run, name)
        shutil.rmtree(work)
    accelerator.wait_for_everyone()
    return load_bundle(out, "generator")


def fit(run: LoraRun, reporter: Reporter | None = None, logs: Path | None = None) -> None:
    """Train to the last step, with sample grids on the way.

    Args:
        run: Set up, or interrupted.
        reporter: Hears of progress.
        logs: Folder for TensorBoard.

    Raises:
        UserError: The loss is no number any more.
    """
    trainer = run.trainer
    observer = Observer(
        trainer,
        run.rarest_prompts(GRID_PROMPTS),
        run.folder,
        reporter or Reporter(),
        logs if trainer.accelerator.is_main_process else None,
    )
    try:
        trainer.train(observer)
    finally:
        observer.close()
