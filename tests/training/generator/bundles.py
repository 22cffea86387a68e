"""A generator bundle on a tiny random pipeline, with a LoRA that changes what it draws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

from porcelain.bundle import (
    LORA_FILE,
    SPLIT_FILE,
    BaseModelReference,
    Combination,
    GeneratorInfo,
    SamplingDefaults,
    write_manifest,
)
from porcelain.prompts import DEFAULT_TEMPLATE
from porcelain.vocabulary import TASKS
from sampling.base import load_pipeline
from sampling.layout import digest_of
from tests.sampling.tiny_pipeline import SIZE
from training.data.allotment import Kind
from training.data.split import Split, write_split
from training.generator.synthesis.kinds import labels_of

RANK = 2


def make_generator_bundle(
    folder: Path, base: Path, kinds: Mapping[Kind, int], split: Split | None = None, steps: int = 2
) -> Path:
    """Write a bundle that has seen `kinds` so many times each."""
    (folder / LORA_FILE).parent.mkdir(parents=True)
    _write_lora(load_pipeline(base, device="cpu"), folder / LORA_FILE)
    if split is not None:
        write_split(folder / SPLIT_FILE, split)
    info = GeneratorInfo(
        base=BaseModelReference(reference=str(base), digest=digest_of(base)),
        prompt_template=DEFAULT_TEMPLATE,
        labels={
            task: sorted({labels_of(kind)[task] for kind in kinds if task in labels_of(kind)})
            for task in TASKS
        },
        combinations=[Combination(labels=labels_of(kind), count=n) for kind, n in kinds.items()],
        rank=RANK,
        alpha=RANK,
        sampling=SamplingDefaults(steps=steps, guidance_scale=2.0, width=SIZE, height=SIZE),
    )
    write_manifest(folder, kind="generator", name="tiny", dataset_digest="0" * 64, generator=info)
    return folder


def _write_lora(pipeline: StableDiffusionPipeline, file: Path) -> None:
    unet = pipeline.unet
    unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=["to_q", "to_k", "to_v"]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for name, weight in unet.named_parameters():
            if "lora_B" in name:
                weight.data.normal_(std=0.5)
    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(unet))
    StableDiffusionPipeline.save_lora_weights(
        file.parent, unet_lora_layers=layers, weight_name=file.name
    )
