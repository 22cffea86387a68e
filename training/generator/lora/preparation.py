"""From a base model and photographs to what training reads: latents, texts, shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from diffusers import StableDiffusionPipeline

from porcelain.bundle import BaseModelReference
from porcelain.dataset import Dataset, Record
from porcelain.errors import DatasetError, UserError
from porcelain.prompts import prompt_for
from porcelain.vocabulary import Taxonomy
from sampling.base import digest_of, resolve_base, revision_of
from training.generator.lora.latents import LatentKey, LatentStore, encode_pictures
from training.generator.lora.material import Material
from training.generator.lora.rarity import rarity_weights
from training.generator.lora.records import Reporter
from training.generator.lora.settings import LoraSettings
from training.generator.lora.texts import cut_prompts, embed, token_ids


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


def prepare_material(
    pipeline: StableDiffusionPipeline,
    photographs: Dataset,
    taxonomy: Taxonomy,
    base: Base,
    settings: LoraSettings,
    cache: Path,
    accelerator: Accelerator,
    reporter: Reporter,
) -> tuple[Material, tuple[Record, ...]]:
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
        The material, and the rows of the pictures it holds.

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
    _warn_of_cut(pipeline, prompts, reporter)
    if settings.text_encoder:
        texts = token_ids(pipeline, prompts)
    else:
        with accelerator.main_process_first():
            texts = embed(pipeline, prompts, base.reference.digest, cache)
    material = Material(
        latents=store,
        rows=rows,
        prompts=np.array([prompts.index(prompt) for prompt in described], dtype=np.int64),
        texts=texts,
        shares=rarity_weights(records, settings.rarity_power),
        scaling=float(pipeline.vae.config.scaling_factor),
    )
    return material, records


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


def _warn_of_cut(
    pipeline: StableDiffusionPipeline, prompts: Sequence[str], reporter: Reporter
) -> None:
    cut = cut_prompts(pipeline, prompts)
    if cut:
        reporter.message(
            f"{len(cut)} prompts are longer than the text encoder reads and lose their end, such "
            f"as {cut[0]!r}; shorten the taxonomy's phrases or --template"
        )
