"""What a trained generator's bundle holds: adapters, labels, prompts, provenance, a grid."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from porcelain.bundle import (
    LORA_FILE,
    SPLIT_FILE,
    GeneratorInfo,
    SamplingDefaults,
    write_manifest,
)
from porcelain.dataset import Record
from porcelain.files import SETTINGS_FILE, write_json, write_text
from porcelain.prompts import prompt_for
from porcelain.vocabulary import TAXONOMY_FILE, Taxonomy
from training.data.split import Split, write_split
from training.generator.lora.adapters import save_adapters, update_sizes
from training.generator.lora.preparation import Base
from training.generator.lora.previews import Sampling, rarest_first
from training.generator.lora.selection import combinations_of, labels_that_occur
from training.generator.lora.trainer import DTYPES, LoraTrainer
from training.generator.lora.verification import Verification, verify

GRID_FILE = "grid.png"
TRAINING_FILE = "training.json"


@dataclass(frozen=True)
class Fitted:
    """A trained LoRA with everything it was trained from.

    Attributes:
        trainer: Carries the pipeline with its trained adapters, and the settings.
        base: What lies under them.
        records: The photographs it learned from.
        digest: Of the photographs it was given.
        split: The dataset's parts.
        taxonomy: The dataset's.
        grid: File of the last sample grid.
    """

    trainer: LoraTrainer
    base: Base
    records: tuple[Record, ...]
    digest: str
    split: Split
    taxonomy: Taxonomy
    grid: Path


def write_generator(folder: Path, fitted: Fitted, name: str) -> Verification:
    """Save the adapters, prove them in a fresh process, and write the bundle's other files.

    Args:
        folder: Where to write.
        fitted: The trained LoRA; its pipeline is in float32 afterwards.
        name: The model's name.

    Raises:
        PorcelainError: The saved adapters do not do what the trained model does.
    """
    trainer, settings = fitted.trainer, fitted.trainer.settings
    frozen = DTYPES[trainer.accelerator.mixed_precision]
    pipeline = trainer.finished()
    save_adapters(pipeline, (folder / LORA_FILE).parent)
    combinations = combinations_of(fitted.records)
    rarest = rarest_first(combinations)[0].labels if combinations else {}
    sampling = Sampling(settings.sampling_steps, settings.guidance_scale, settings.side())
    verification = verify(
        folder,
        fitted.base.folder,
        pipeline,
        prompt_for(rarest, fitted.taxonomy, settings.template),
        sampling,
        trainer.device,
        frozen,
    )
    shutil.copyfile(fitted.grid, folder / GRID_FILE)
    write_split(folder / SPLIT_FILE, fitted.split)
    taxonomy = fitted.taxonomy.model_dump(exclude_none=True)
    write_text(
        folder / TAXONOMY_FILE, yaml.safe_dump(taxonomy, allow_unicode=True, sort_keys=False)
    )
    write_json(folder / SETTINGS_FILE, settings.model_dump(mode="json"))
    write_json(
        folder / TRAINING_FILE,
        {
            "photographs": [record.file_name for record in fitted.records],
            "losses": trainer.history.losses,
            "mean_updates": update_sizes(pipeline),
            "verification": vars(verification),
        },
    )
    info = GeneratorInfo(
        base=fitted.base.reference,
        prompt_template=settings.template,
        labels=labels_that_occur(fitted.records),
        combinations=combinations,
        rank=settings.rank,
        alpha=settings.scale * settings.rank,
        text_encoder=settings.text_encoder,
        sampling=SamplingDefaults(
            steps=sampling.steps,
            guidance_scale=sampling.guidance_scale,
            width=sampling.size,
            height=sampling.size,
        ),
    )
    write_manifest(
        folder, kind="generator", name=name, dataset_digest=fitted.digest, generator=info
    )
    return verification
