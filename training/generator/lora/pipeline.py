"""From photographs to a generator bundle: every step of `porcelain generator train`."""

from __future__ import annotations

import shutil
from pathlib import Path

from porcelain.bundle import Bundle, check_name, load_bundle
from porcelain.files import atomic_folder, check_free
from training.generator.lora.bundling import write_generator
from training.generator.lora.observation import GRID_PROMPTS, Observer
from training.generator.lora.records import Reporter
from training.generator.lora.run import Run, set_up
from training.generator.lora.settings import LoraSettings


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
    work = out.parent / f".{out.name}.training"
    run = set_up(data, work, settings, split=split, cache=cache, reporter=reporter)
    fit(run, reporter, logs)
    accelerator = run.trainer.accelerator
    if accelerator.is_main_process:
        reporter.message("Loading and sampling the result in a fresh process")
        with atomic_folder(out, overwrite=overwrite) as folder:
            write_generator(folder, run, name)
        shutil.rmtree(work)
    accelerator.wait_for_everyone()
    return load_bundle(out, "generator")


def fit(run: Run, reporter: Reporter | None = None, logs: Path | None = None) -> None:
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
