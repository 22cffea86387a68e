"""Adapters: on attention alone, without effect at first, saved so that diffusers reads them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file

from porcelain.bundle import LORA_FILE
from sampling.base import load_pipeline
from training.generator.lora.model import (
    Sampling,
    add_adapters,
    sample,
    save_adapters,
    set_adapters,
    update_sizes,
)

BRIEF = Sampling(2, 2.0, 64)
PROMPT = "museum photograph of a vase"


def adapted(base: Path, *, text_encoder: bool = False) -> StableDiffusionPipeline:
    pipeline = load_pipeline(base, device="cpu", dtype=torch.float32)
    torch.manual_seed(0)
    add_adapters(pipeline, 4, 8.0, text_encoder=text_encoder)
    return pipeline


def move(pipeline: StableDiffusionPipeline) -> None:
    """Give the second matrices values, as training would."""
    generator = torch.Generator().manual_seed(1)
    for part in (pipeline.unet, pipeline.text_encoder):
        for name, parameter in part.named_parameters():
            if "lora_B" in name:
                parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3


def test_they_sit_on_attention_alone_and_change_nothing_yet(base: Path) -> None:
    plain = load_pipeline(base, device="cpu", dtype=torch.float32)
    pipeline = adapted(base)
    learns = {n for n, p in pipeline.unet.named_parameters() if p.requires_grad}
    assert learns
    assert all("lora_" in name and ".attn" in name for name in learns)
    ends = {name.split(".lora_")[0].split(".attn")[1][2:] for name in learns}
    assert ends == {"to_q", "to_k", "to_v", "to_out.0"}
    for part in (pipeline.vae, pipeline.text_encoder):
        assert not any(p.requires_grad for p in part.parameters())
    expected = sample(plain, [PROMPT], BRIEF, seed=0)
    np.testing.assert_array_equal(sample(pipeline, [PROMPT], BRIEF, seed=0), expected)
    assert set(update_sizes(pipeline).values()) == {0.0}


@pytest.mark.parametrize("text_encoder", [False, True])
def test_diffusers_loads_what_is_saved(base: Path, tmp_path: Path, text_encoder: bool) -> None:
    pipeline = adapted(base, text_encoder=text_encoder)
    move(pipeline)
    save_adapters(pipeline, tmp_path)
    fresh = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
    before = sample(fresh, [PROMPT], BRIEF, seed=0)
    fresh.load_lora_weights(tmp_path, weight_name=Path(LORA_FILE).name)
    expected = sample(pipeline, [PROMPT], BRIEF, seed=0)
    np.testing.assert_allclose(sample(fresh, [PROMPT], BRIEF, seed=0), expected, atol=1e-5)
    assert np.abs(before - expected).mean() > 1e-3
    with safe_open(tmp_path / Path(LORA_FILE).name, "pt") as file:
        metadata = json.loads(file.metadata()["lora_adapter_metadata"])
        names = list(file.keys())
    assert metadata["unet.r"] == 4
    assert metadata["unet.lora_alpha"] == 8
    assert str(base) not in json.dumps(metadata)
    assert any(name.startswith("text_encoder.") for name in names) == text_encoder


def test_update_sizes_are_those_of_the_saved_matrices(base: Path, tmp_path: Path) -> None:
    pipeline = adapted(base)
    move(pipeline)
    save_adapters(pipeline, tmp_path)
    saved = load_file(tmp_path / Path(LORA_FILE).name)
    sizes = update_sizes(pipeline)
    assert len(sizes) == len(saved) // 2
    for name, size in sizes.items():
        update = saved[f"{name}.lora.up.weight"] @ saved[f"{name}.lora.down.weight"]
        assert size == pytest.approx(float((2.0 * update).abs().mean()), rel=1e-4)


def test_they_can_be_set_aside(base: Path) -> None:
    pipeline = adapted(base, text_encoder=True)
    expected = sample(pipeline, [PROMPT], BRIEF, seed=0)
    move(pipeline)
    moved = sample(pipeline, [PROMPT], BRIEF, seed=0)
    set_adapters(pipeline, enabled=False)
    np.testing.assert_array_equal(sample(pipeline, [PROMPT], BRIEF, seed=0), expected)
    set_adapters(pipeline, enabled=True)
    np.testing.assert_array_equal(sample(pipeline, [PROMPT], BRIEF, seed=0), moved)
    assert not np.array_equal(moved, expected)
