"""Finding, naming and loading base models."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from diffusers import StableDiffusionPipeline

from porcelain.bundle import BaseModelReference
from porcelain.errors import BundleError, UserError
from sampling.base import (
    choose_device,
    default_dtype,
    digest_of,
    load_pipeline,
    resolve_base,
    revision_of,
)
from sampling.finding import find_base
from sampling.layout import pipeline_files


@pytest.fixture
def copy(base, tmp_path):
    return shutil.copytree(base, tmp_path / "copy")


def test_a_folder_and_a_base_that_ships_are_found(base, monkeypatch):
    assert resolve_base(str(base)) == base
    monkeypatch.setenv("PORCELAIN_MODELS", str(base.parent))
    assert resolve_base("base") == base
    assert revision_of(base) is None


@pytest.mark.parametrize("reference", ["nothing-of-the-kind", "../models", "a/b/c", "", "C:\\x"])
def test_what_is_nowhere_is_said_with_what_can_be_given(reference, monkeypatch, tmp_path, base):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PORCELAIN_MODELS", str(base.parent))
    with pytest.raises(UserError) as refusal:
        resolve_base(reference)
    assert "folder" in str(refusal.value).lower()


def test_a_folder_without_a_model_is_not_looked_for_elsewhere(tmp_path):
    with pytest.raises(UserError, match=r"no model_index\.json"):
        resolve_base(str(tmp_path))


def test_the_digest_is_of_what_is_loaded_and_of_nothing_else(base, copy):
    assert digest_of(copy) == digest_of(base)
    (copy / "README.md").write_text("A model.")
    (copy / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    (copy / "safety_checker").mkdir()
    (copy / "safety_checker" / "config.json").write_text("{}")
    assert digest_of(copy) == digest_of(base)
    for name in ("tokenizer/merges.txt", "scheduler/scheduler_config.json", "vae/config.json"):
        before = digest_of(copy)
        (copy / name).write_text((copy / name).read_text() + "\n")
        assert digest_of(copy) != before
    before = digest_of(copy)
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert digest_of(copy) != before


def test_the_base_of_a_bundle_is_checked(base, copy):
    reference = BaseModelReference(reference=str(base), digest=digest_of(base))
    assert find_base(reference) == base
    assert find_base(reference, str(copy)) == copy
    (copy / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(BundleError, match="train"):
        find_base(reference, str(copy))


def test_a_loaded_pipeline_is_ready_for_inference(base):
    pipeline = load_pipeline(base, device="cpu")
    assert pipeline.safety_checker is None
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        assert not part.training
        assert not any(weight.requires_grad for weight in part.parameters())
        assert part.dtype == torch.float32
    half = load_pipeline(base, device="cpu", dtype=torch.bfloat16)
    assert half.unet.dtype == half.vae.dtype == half.text_encoder.dtype == torch.bfloat16


def test_a_model_in_half_precision_alone_is_loaded(base, tmp_path):
    pipeline = load_pipeline(base, device="cpu", dtype=torch.float16)
    pipeline.save_pretrained(tmp_path / "half", variant="fp16")
    assert all("fp16" in p.name for p in pipeline_files(tmp_path / "half") if "safe" in p.name)
    loaded = load_pipeline(tmp_path / "half", device="cpu")
    assert loaded.unet.dtype == torch.float32


def test_a_model_in_shards_is_loaded(base, copy):
    shutil.rmtree(copy / "unet")
    load_pipeline(base, device="cpu").unet.save_pretrained(copy / "unet", max_shard_size="500KB")
    shards = [path for path in pipeline_files(copy) if "-of-" in path.name]
    assert len(shards) > 1
    load_pipeline(copy, device="cpu")
    shards[0].unlink()
    with pytest.raises(UserError, match="-of-"):
        load_pipeline(copy, device="cpu")


@pytest.mark.parametrize(
    "missing", ["unet/config.json", "vae/diffusion_pytorch_model.safetensors", "tokenizer"]
)
def test_a_missing_part_is_named(copy, missing):
    path = copy / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    for use in (digest_of, lambda folder: load_pipeline(folder, device="cpu")):
        with pytest.raises(UserError, match="not a whole Stable Diffusion model"):
            use(copy)


def test_pickled_weights_are_never_read(copy, base):
    StableDiffusionPipeline.from_pretrained(base).unet.save_pretrained(
        copy / "unet", safe_serialization=False
    )
    (copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(UserError, match="pickled weights are not read"):
        load_pipeline(copy, device="cpu")


def test_relatives_that_take_more_than_a_prompt_are_refused(copy):
    from diffusers import UNet2DConditionModel

    config = json.loads((copy / "unet" / "config.json").read_text())
    config["in_channels"] = 9
    UNet2DConditionModel.from_config(config).save_pretrained(copy / "unet")
    with pytest.raises(UserError, match="inpainting"):
        load_pipeline(copy, device="cpu")


def test_damaged_files_are_one_clear_line(copy):
    weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot be loaded") as refusal:
        load_pipeline(copy, device="cpu")
    assert "\n" not in str(refusal.value)


def test_devices():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for wrong in ("tpu", "cuda" if not torch.cuda.is_available() else "cuda:nothing"):
        with pytest.raises(UserError, match="cpu"):
            choose_device(wrong)
    assert default_dtype(torch.device("cuda")) == torch.float16
    assert default_dtype(torch.device("cpu")) == torch.float32
