"""What a trained generator's bundle holds: adapters, labels, prompts, provenance, a grid."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from porcelain.bundle import (
    LORA_FILE,
    SPLIT_FILE,
    GeneratorInfo,
    SamplingDefaults,
    write_manifest,
)
from porcelain.files import SETTINGS_FILE, write_json, write_text
from porcelain.vocabulary import TAXONOMY_FILE
from training.data.digests import write_digests
from training.data.split import write_split
from training.generator.lora.adapters import save_adapters, update_sizes
from training.generator.lora.observation import grid_file
from training.generator.lora.previews import Sampling
from training.generator.lora.run import Run
from training.generator.lora.selection import combinations_of, labels_that_occur
from training.generator.lora.verification import Verification, verify

GRID_FILE = "grid.png"
TRAINING_FILE = "training.json"


def write_generator(folder: Path, run: Run, name: str) -> Verification:
    """Save the adapters, prove them in a fresh process, and write the bundle's other files.

    Args:
        folder: Where to write.
        run: The trained LoRA; its pipeline is in float32 afterwards.
        name: The model's name.

    Raises:
        PorcelainError: The saved adapters do not do what the trained model does.
    """
    trainer, settings = run.trainer, run.trainer.settings
    pipeline = trainer.finished()
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
    write_digests(folder, run.root, {"train": learned})
    taxonomy = run.taxonomy.model_dump(exclude_none=True)
    write_text(
        folder / TAXONOMY_FILE, yaml.safe_dump(taxonomy, allow_unicode=True, sort_keys=False)
    )
    write_json(folder / SETTINGS_FILE, settings.model_dump(mode="json"))
    write_json(
        folder / TRAINING_FILE,
        {
            "photographs": learned,
            "losses": trainer.history.losses,
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
