"""From photographs and a base model to a run that is ready to train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import StableDiffusionPipeline

from porcelain.bundle import BaseModelReference, Combination
from porcelain.dataset import Dataset, Record, load_dataset, subset
from porcelain.errors import DatasetError, UserError
from porcelain.files import open_work_folder
from porcelain.prompts import check_template, prompt_for
from porcelain.vocabulary import Taxonomy, load_taxonomy
from sampling.base import digest_of, load_pipeline, resolve_base, revision_of
from training.data.split import SUBSETS, Split, split_or_make
from training.data.undeclared import refuse_undeclared
from training.generator.lora.inputs import (
    LatentKey,
    LatentStore,
    TrainingInputs,
    embed,
    encode_pictures,
    rarity_weights,
    token_ids,
    truncated_prompts,
)
from training.generator.lora.model import add_adapters, choose_precision
from training.generator.lora.settings import LoraSettings
from training.generator.lora.trainer import LoraTrainer, Reporter
from training.generator.synthesis.plan import count_records, labels_of, task_counts
from training.processes import open_accelerator


def training_photographs(
    dataset: Dataset, split: Split, message: Callable[[str], None] = lambda text: None
) -> Dataset:
    """The training part without generated pictures, which would teach a model its own faults.

    Generated pictures that their rows declare are left out; those that are declared real are a
    fault. Only pictures of the training part are opened.

    Args:
        dataset: All pictures.
        split: Its training, validation and test part.
        message: Hears how many pictures were left out.

    Raises:
        DatasetError: Nothing is left, or a picture is synthetic and declared real.
    """
    training = subset(dataset, split.names["train"])
    refuse_undeclared(training)
    real = [record.file_name for record in training.records if not record.synthetic]
    left_out = len(training) - len(real)
    if not real:
        raise DatasetError(
            f"{dataset.root} has no photograph in its training part: of {len(training)} pictures "
            f"there, {left_out} are generated; a LoRA learns from photographs alone."
        )
    if left_out:
        message(f"Left out {left_out} generated pictures: a LoRA learns from photographs alone")
    return subset(dataset, real)


def combinations_of(records: Sequence[Record]) -> list[Combination]:
    """Which labels occur together, the most frequent first; pictures without any do not count."""
    combinations = [
        Combination(labels=labels_of(kind), count=count)
        for kind, count in count_records(records).items()
    ]
    return sorted(combinations, key=lambda one: (-one.count, sorted(one.labels.items())))


def labels_that_occur(records: Sequence[Record]) -> dict[str, list[str]]:
    """The labels of each task that occur, sorted; tasks without any are left out."""
    counts = task_counts(count_records(records))
    return {task: sorted(labels) for task, labels in counts.items() if labels}


@dataclass(frozen=True)
class Base:
    """The model under the LoRA: its folder, and how a bundle names it."""

    folder: Path
    reference: BaseModelReference


def find_base(name: str) -> Base:
    """Find and identify a base model.

    Raises:
        UserError: There is none, or it is not a whole Stable Diffusion model.
    """
    folder = resolve_base(name)
    # A relative folder would mean another one elsewhere.
    here = Path(name).expanduser()
    reference = str(here.resolve()) if folder == here else name
    return Base(
        folder,
        BaseModelReference(
            reference=reference, revision=revision_of(folder), digest=digest_of(folder)
        ),
    )


def base_size(pipeline: StableDiffusionPipeline) -> int:
    """The side in pixels that a base was made for."""
    side = pipeline.unet.config.sample_size
    return int(side if isinstance(side, int) else max(side)) * int(pipeline.vae_scale_factor)


def base_width(pipeline: StableDiffusionPipeline) -> int:
    """Channels of the first block of a base's UNet: 320 of every Stable Diffusion 1.x and 2.x."""
    return int(pipeline.unet.config.block_out_channels[0])


def latent_shape(pipeline: StableDiffusionPipeline, size: int) -> tuple[int, int, int]:
    """Channels, height and width of the latents of a picture.

    Raises:
        UserError: The base makes no pictures of this size.
    """
    factor = int(pipeline.vae_scale_factor)
    if size % factor:
        raise UserError(f"--size {size} does not fit this base; choose a multiple of {factor}.")
    return int(pipeline.vae.config.latent_channels), size // factor, size // factor


def prepare_inputs(
    pipeline: StableDiffusionPipeline,
    photographs: Dataset,
    taxonomy: Taxonomy,
    base: Base,
    settings: LoraSettings,
    cache: Path,
    accelerator: Accelerator,
    reporter: Reporter,
) -> tuple[TrainingInputs, tuple[Record, ...]]:
    """Encode pictures and prompts, or find them encoded.

    Args:
        pipeline: The base in float32, without adapters, on the accelerator's device.
        photographs: To learn from; nothing else is opened.
        taxonomy: Gives labels their phrases.
        base: Where `pipeline` comes from.
        settings: The resolved settings.
        cache: Folder in which latents and embeddings are kept.
        accelerator: The processes share the work.
        reporter: Hears of progress, and of pictures that cannot be read.

    Returns:
        The inputs, and the rows of the pictures it holds.

    Raises:
        UserError: No picture can be read, or the base makes no pictures of this size.
    """
    store = _latents(pipeline, photographs, base, settings, cache, accelerator, reporter)
    rows = np.array(store.usable(), dtype=np.int64)
    if len(rows) == 0:
        raise DatasetError(f"{photographs.root} has no readable training photograph.")
    records = tuple(photographs.records[row] for row in rows)
    described = [prompt_for(record.labels, taxonomy, settings.template) for record in records]
    prompts = ["", *sorted(set(described) - {""})]
    _warn_of_truncation(pipeline, prompts, reporter)
    if settings.text_encoder:
        texts = token_ids(pipeline, prompts)
    else:
        with accelerator.main_process_first():
            texts = embed(pipeline, prompts, base.reference.digest, cache)
    inputs = TrainingInputs(
        latents=store,
        rows=rows,
        prompts=np.array([prompts.index(prompt) for prompt in described], dtype=np.int64),
        texts=texts,
        shares=rarity_weights(records, settings.rarity_power),
        scaling=float(pipeline.vae.config.scaling_factor),
    )
    return inputs, records


def _latents(
    pipeline: StableDiffusionPipeline,
    photographs: Dataset,
    base: Base,
    settings: LoraSettings,
    cache: Path,
    accelerator: Accelerator,
    reporter: Reporter,
) -> LatentStore:
    shape = latent_shape(pipeline, settings.side())
    paths = [photographs.path(record) for record in photographs.records]
    key = LatentKey.of(
        base.reference.digest, paths, settings.side(), settings.resize, flip=settings.flip
    )
    folder = cache / f"latents-{key.digest()[:32]}"
    with accelerator.main_process_first():
        LatentStore.create(folder, key, shape)
    store = LatentStore(folder, key, shape)
    encode_pictures(
        pipeline.vae,
        paths,
        store,
        key,
        share=(accelerator.process_index, accelerator.num_processes),
        on_progress=reporter.encoding,
        on_fault=lambda path, fault: reporter.message(f"Left out {path.name}: {fault}"),
    )
    accelerator.wait_for_everyone()
    return store


def _warn_of_truncation(
    pipeline: StableDiffusionPipeline, prompts: Sequence[str], reporter: Reporter
) -> None:
    cut = truncated_prompts(pipeline, prompts)
    if cut:
        reporter.message(
            f"{len(cut)} prompts are longer than the text encoder reads and lose their end, such "
            f"as {cut[0]!r}; shorten the taxonomy's phrases or --template"
        )


@dataclass(frozen=True)
class LoraRun:
    """A LoRA, trained or about to be.

    Attributes:
        trainer: Carries the pipeline with its adapters, and the resolved settings.
        base: What lies under them.
        root: The dataset folder.
        records: The photographs it learns from.
        digest: Digest of the photographs it was given.
        split: The dataset's parts.
        taxonomy: The dataset's.
        folder: Folder of its checkpoint and sample grids.
    """

    trainer: LoraTrainer
    base: Base
    root: Path
    records: tuple[Record, ...]
    digest: str
    split: Split
    taxonomy: Taxonomy
    folder: Path

    def rarest_prompts(self, most: int) -> list[str]:
        """Prompts of the kinds with the fewest photographs; the empty prompt without any kind."""
        rarest = sorted(
            combinations_of(self.records), key=lambda one: (one.count, sorted(one.labels.items()))
        )
        template = self.trainer.settings.template
        prompts = [prompt_for(one.labels, self.taxonomy, template) for one in rarest[:most]]
        return prompts or [""]


def prepare_run(
    data: Path,
    work: Path,
    settings: LoraSettings,
    *,
    split: Path | None = None,
    cache: Path | None = None,
    reporter: Reporter | None = None,
) -> LoraRun:
    """Everything up to the first step: split, base, encoded pictures and prompts, adapters.

    Args:
        data: A dataset folder.
        work: Folder of latents, checkpoint and sample grids. A run found there that was begun with
            equal settings, photographs, split and base is continued; another is replaced.
        settings: How to train.
        split: A `split.json`; by default the dataset's own, or one made from the seed.
        cache: Folder of latents and embeddings, if not in `work`.
        reporter: Hears of progress.

    Raises:
        UserError: Dataset, split or base do not fit.
    """
    check_template(settings.template)
    accelerator = open_accelerator()
    precision = choose_precision(settings.mixed_precision, accelerator.device)
    reporter = reporter if reporter and accelerator.is_main_process else Reporter()
    dataset, taxonomy = load_dataset(data), load_taxonomy(data)
    parts = split_or_make(dataset, split, seed=settings.seed)
    photographs = training_photographs(dataset, parts, reporter.message)
    digest = photographs.digest()
    with accelerator.local_main_process_first():  # the others find what it has downloaded
        base = find_base(settings.base)
    pipeline = load_pipeline(base.folder, device=str(accelerator.device), dtype=torch.float32)
    settings = settings.resolved(
        len(photographs), base_size(pipeline), base_width(pipeline), precision
    )
    kept = cache or work / "cache"
    inputs, records = prepare_inputs(
        pipeline, photographs, taxonomy, base, settings, kept, accelerator, reporter
    )
    identity = {
        "settings": settings.identity(),
        "base": base.reference.digest,
        "data": digest,
        "split": {part: list(parts.names[part]) for part in SUBSETS},
        "taxonomy": taxonomy.model_dump(mode="json"),
    }
    folder = work / "run"
    if accelerator.is_main_process:
        open_work_folder(folder, identity)
    accelerator.wait_for_everyone()
    torch.manual_seed(settings.seed)
    add_adapters(
        pipeline, settings.rank, settings.alpha_or_rank(), text_encoder=settings.text_encoder
    )
    # They have done their work, but for the sample grids.
    pipeline.vae.to("cpu")
    if not settings.text_encoder:
        pipeline.text_encoder.to("cpu")
    trainer = LoraTrainer(pipeline, inputs, settings, folder, accelerator)
    return LoraRun(trainer, base, dataset.root, records, digest, parts, taxonomy, folder)
