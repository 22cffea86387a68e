"""A run and everything it is made from: set up anew, or found where it was interrupted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from porcelain.dataset import Record, load_dataset
from porcelain.files import open_work_folder
from porcelain.prompts import check_template, prompt_for
from porcelain.vocabulary import Taxonomy, load_taxonomy
from sampling.base import load_pipeline
from training.data.split import SUBSETS, Split, split_or_make
from training.generator.lora.adapters import add_adapters
from training.generator.lora.precision import choose_precision
from training.generator.lora.preparation import (
    Base,
    base_size,
    base_width,
    find_base,
    prepare_material,
)
from training.generator.lora.records import Reporter
from training.generator.lora.selection import combinations_of, photographs_to_learn
from training.generator.lora.settings import LoraSettings
from training.generator.lora.trainer import LoraTrainer
from training.processes import open_accelerator


@dataclass(frozen=True)
class Run:
    """A LoRA, trained or about to be.

    Attributes:
        trainer: Carries the pipeline with its adapters, and the resolved settings.
        base: What lies under them.
        root: The dataset folder.
        records: The photographs it learns from.
        digest: Of the photographs it was given.
        split: The dataset's parts.
        taxonomy: The dataset's.
        folder: Of its checkpoint and sample grids.
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


def set_up(
    data: Path,
    work: Path,
    settings: LoraSettings,
    *,
    split: Path | None = None,
    cache: Path | None = None,
    reporter: Reporter | None = None,
) -> Run:
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
    photographs = photographs_to_learn(dataset, parts, reporter.message)
    digest = photographs.digest()
    with accelerator.local_main_process_first():  # the others find what it has downloaded
        base = find_base(settings.base)
    pipeline = load_pipeline(base.folder, device=str(accelerator.device), dtype=torch.float32)
    settings = settings.resolved(
        len(photographs), base_size(pipeline), base_width(pipeline), precision
    )
    kept = cache or work / "cache"
    material, records = prepare_material(
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
    trainer = LoraTrainer(pipeline, material, settings, folder, accelerator)
    return Run(trainer, base, dataset.root, records, digest, parts, taxonomy, folder)
