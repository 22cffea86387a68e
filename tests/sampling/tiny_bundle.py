"""A generator bundle with random weights, for tests that need a whole one."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from diffusers.training_utils import _collate_lora_metadata
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

from porcelain.bundle import (
    LORA_FILE,
    BaseModelReference,
    Combination,
    GeneratorInfo,
    SamplingDefaults,
    write_manifest,
)
from porcelain.files import atomic_folder
from porcelain.prompts import DEFAULT_TEMPLATE
from sampling.base import digest_of, load_pipeline
from tests.sampling.tiny_pipeline import SIZE

LABELS = {
    "dynasty": ["ming", "song"],
    "glaze": ["blue_and_white", "celadon"],
    "kiln": ["jingdezhen", "longquan"],
    "type": ["bowl", "vase"],
}
COMBINATIONS = [
    {"dynasty": "ming", "glaze": "blue_and_white", "kiln": "jingdezhen", "type": "vase"},
    {"dynasty": "ming", "glaze": "blue_and_white", "kiln": "jingdezhen", "type": "bowl"},
    {"dynasty": "song", "glaze": "celadon", "kiln": "longquan", "type": "bowl"},
]
STEPS = 4
RANK, ALPHA = 4, 8.0


def make_tiny_lora(folder: Path, base: Path, *, text_encoder: bool = False, seed: int = 1) -> None:
    """Write a LoRA that changes pictures visibly, in diffusers' own layout."""
    pipeline = load_pipeline(base, device="cpu")
    layers, adapted = {}, {}
    targets = {"unet": ["to_q", "to_k", "to_v", "to_out.0"]}
    if text_encoder:
        targets["text_encoder"] = ["q_proj", "k_proj", "v_proj", "out_proj"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part, modules in targets.items():
            model = adapted[part] = getattr(pipeline, part)
            config = LoraConfig(
                r=RANK, lora_alpha=ALPHA, target_modules=modules, init_lora_weights=False
            )
            model.add_adapter(config)
            state = convert_state_dict_to_diffusers(get_peft_model_state_dict(model))
            layers[f"{part}_lora_layers"] = state
    StableDiffusionPipeline.save_lora_weights(folder, **layers, **_collate_lora_metadata(adapted))


def make_tiny_bundle(folder: Path, base: Path, *, text_encoder: bool = False) -> Path:
    """Write a generator bundle for the pipeline in `base` and return its folder."""
    info = GeneratorInfo(
        base=BaseModelReference(reference=str(base), digest=digest_of(base)),
        prompt_template=DEFAULT_TEMPLATE,
        labels=LABELS,
        combinations=[Combination(labels=labels, count=3) for labels in COMBINATIONS],
        rank=RANK,
        alpha=ALPHA,
        text_encoder=text_encoder,
        sampling=SamplingDefaults(steps=STEPS, guidance_scale=5.0, width=SIZE, height=SIZE),
    )
    with atomic_folder(folder) as work:
        make_tiny_lora((work / LORA_FILE).parent, base, text_encoder=text_encoder)
        write_manifest(work, kind="generator", name="tiny", dataset_digest="0" * 64, generator=info)
    return folder
