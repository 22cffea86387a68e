"""From photographs to a generator bundle: every step of `porcelain generator train`."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from accelerate import Accelerator

from porcelain.bundle import Bundle, check_name, load_bundle
from porcelain.dataset import load_dataset
from porcelain.errors import UserError
from porcelain.files import atomic_folder, check_free, open_work_folder
from porcelain.prompts import check_template, prompt_for
from porcelain.vocabulary import load_taxonomy
from sampling.base import load_pipeline
from training.data.split import SUBSETS, split_or_make
from training.generator.lora.adapters import add_adapters
from training.generator.lora.bundling import Fitted, write_generator
from training.generator.lora.observation import Observer
from training.generator.lora.preparation import base_size, find_base, prepare_material
from training.generator.lora.previews import GRID_PROMPTS, rarest_first
from training.generator.lora.records import Reporter
from training.generator.lora.selection import combinations_of, photographs_to_learn
from training.generator.lora.settings import LoraSettings
from training.generator.lora.trainer import CHECKPOINT_SECONDS, LoraTrainer


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
    sources = [data, Path(settings.base), *([cache] if cache else [])]
    check_name(name)
    check_free(out, overwrite, sources)
    work = out.parent / f".{out.name}.training"
    fitted = fit(data, work, settings, split=split, logs=logs, cache=cache, reporter=reporter)
    accelerator = fitted.trainer.accelerator
    if accelerator.is_main_process:
        (reporter or Reporter()).message("Loading and sampling the result in a fresh process")
        with atomic_folder(out, overwrite=overwrite) as folder:
            write_generator(folder, fitted, name)
        shutil.rmtree(work)
    accelerator.wait_for_everyone()
    return load_bundle(out, "generator")


def fit(
    data: Path,
    work: Path,
    settings: LoraSettings,
    *,
    split: Path | None = None,
    logs: Path | None = None,
    cache: Path | None = None,
    reporter: Reporter | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Fitted:
    """Everything up to the trained adapters.

    Args:
        data: A dataset folder.
        work: Folder of latents, checkpoint and sample grids. A run found there that was begun with
            equal settings, photographs and split is continued; another is replaced.
        settings: How to train.
        split: A `split.json`; by default the dataset's own, or one made from the seed.
        logs: Folder for TensorBoard.
        cache: Folder of latents and embeddings, if not in `work`.
        reporter: Hears of progress.
        checkpoint_seconds: Least time between two checkpoints.

    Raises:
        UserError: Dataset, split or base do not fit.
    """
    check_template(settings.template)
    accelerator = Accelerator(mixed_precision=precision(settings))
    # One voice for all processes.
    reporter = (reporter if accelerator.is_main_process else None) or Reporter()
    dataset, taxonomy = load_dataset(data), load_taxonomy(data)
    parts = split_or_make(dataset, split, seed=settings.seed)
    photographs = photographs_to_learn(dataset, parts, reporter.message)
    digest = photographs.digest()
    with accelerator.local_main_process_first():
        base = find_base(settings.base)
    pipeline = load_pipeline(base.folder, device=str(accelerator.device), dtype=torch.float32)
    settings = settings.resolved(len(photographs), base_size(pipeline))
    material, records = prepare_material(
        pipeline,
        photographs,
        taxonomy,
        base,
        settings,
        cache or work / "cache",
        accelerator,
        reporter,
    )
    run = work / "run"
    identity = {
        "settings": settings.identity(),
        "base": base.reference.digest,
        "data": digest,
        "split": {part: list(parts.names[part]) for part in SUBSETS},
        "taxonomy": taxonomy.model_dump(mode="json"),
    }
    if accelerator.is_main_process:
        open_work_folder(run, identity)
    accelerator.wait_for_everyone()
    torch.manual_seed(settings.seed)
    add_adapters(
        pipeline, settings.rank, settings.scale * settings.rank, text_encoder=settings.text_encoder
    )
    # They have done their work, but for the sample grids.
    pipeline.vae.to("cpu")
    if not settings.text_encoder:
        pipeline.text_encoder.to("cpu")
    trainer = LoraTrainer(pipeline, material, settings, run, accelerator)
    shown = rarest_first(combinations_of(records))[:GRID_PROMPTS]
    prompts = [prompt_for(c.labels, taxonomy, settings.template) for c in shown]
    observer = Observer(trainer, prompts, run, reporter, logs)
    try:
        trainer.train(observer, checkpoint_seconds)
    finally:
        observer.close()
    return Fitted(trainer, base, records, digest, parts, taxonomy, observer.last_grid)


def precision(settings: LoraSettings) -> str:
    """What `mixed_precision` means on this machine.

    Raises:
        UserError: It cannot do what is asked.
    """
    asked, cuda = settings.mixed_precision, torch.cuda.is_available()
    if asked == "auto":
        if not cuda:
            return "no"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if asked == "fp16" and not cuda:
        raise UserError("--mixed-precision fp16 needs a CUDA GPU; choose bf16 or no.")
    return asked
