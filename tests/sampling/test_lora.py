"""Bundles: the LoRA fused into the right base, equal to what it does unfused."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from porcelain.bundle import LORA_FILE, load_bundle
from porcelain.errors import BundleError
from sampling.base import load_pipeline
from sampling.generator import Generator, SampleRequest, fuse_lora, load_lora
from tests.sampling.comparing import ALIKE, plain_picture, psnr
from tests.sampling.tiny_bundle import ALPHA, RANK, STEPS, make_tiny_lora
from tests.sampling.tiny_pipeline import SIZE, make_tiny_pipeline

REQUESTS = [
    SampleRequest("museum photograph of a vase", 1, 5.0),
    SampleRequest("museum photograph of a bowl, celadon glaze", 2, 1.0),
]
SIZES = {"steps": STEPS, "width": SIZE, "height": SIZE}


def test_a_bundle_makes_the_pictures_of_a_plain_pipeline_with_its_lora(base, bundle_folder):
    generator = Generator.load(load_bundle(bundle_folder, "generator"), device="cpu")
    without = Generator.from_pipeline(load_pipeline(base, device="cpu")).sample(REQUESTS, **SIZES)
    plain = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
    plain.set_progress_bar_config(disable=True)
    plain.load_lora_weights(bundle_folder / "lora")
    made = generator.sample(REQUESTS, **SIZES)
    for request, ours, unchanged in zip(REQUESTS, made, without, strict=True):
        assert psnr(ours, plain_picture(plain, request, STEPS, SIZE)) >= ALIKE
        assert psnr(ours, unchanged) < ALIKE


def test_fusing_adds_the_product_to_the_weights_and_leaves_no_adapter(base, bundle_folder):
    before = load_pipeline(base, device="cpu").unet.state_dict()
    pipeline = load_pipeline(base, device="cpu")
    fuse_lora(pipeline, bundle_folder / LORA_FILE)
    after = pipeline.unet.state_dict()
    assert before.keys() == after.keys()
    lora = load_file(bundle_folder / LORA_FILE)
    changed = 0
    for name, weight in after.items():
        stem = "unet." + name.removesuffix(".weight")
        down = lora.get(f"{stem}.lora.down.weight")
        expected = before[name].numpy()
        if down is not None:
            up = lora[f"{stem}.lora.up.weight"]
            expected = expected + ALPHA / RANK * (up @ down).numpy()
            changed += 1
        np.testing.assert_allclose(weight.numpy(), expected, atol=1e-6)
    assert changed == sum(name.startswith("unet.") for name in lora) // 2 > 0


def test_the_parts_that_a_lora_adapts_are_named(base, bundle_folder, tmp_path):
    pipeline = load_pipeline(base, device="cpu")
    assert load_lora(pipeline, bundle_folder / LORA_FILE) == ["text_encoder", "unet"]
    make_tiny_lora(tmp_path, base)
    pipeline = load_pipeline(base, device="cpu")
    assert load_lora(pipeline, tmp_path / "pytorch_lora_weights.safetensors") == ["unet"]


def test_a_bundle_refuses_another_base(bundle_folder, tmp_path):
    other = make_tiny_pipeline(tmp_path / "other", seed=9)
    with pytest.raises(BundleError, match="not the base model that the LoRA was trained on"):
        Generator.load(load_bundle(bundle_folder, "generator"), base=str(other), device="cpu")


def test_the_base_may_have_moved(base, bundle_folder, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(base, moved)
    bundle = load_bundle(bundle_folder, "generator")
    here, there = (Generator.load(bundle, base=b, device="cpu") for b in (None, str(moved)))
    for ours, theirs in zip(
        here.sample(REQUESTS, **SIZES), there.sample(REQUESTS, **SIZES), strict=True
    ):
        assert np.array_equal(ours, theirs)


def test_files_that_do_not_fit_are_refused(base, bundle_folder, tmp_path):
    state = load_file(bundle_folder / LORA_FILE)
    unet = {name: value for name, value in state.items() if name.startswith("unet.")}
    first = next(iter(unet))
    wrong = {
        "garbage": b"no safetensors",
        "empty": {},
        "other layers": {
            name.replace("down_blocks.0", "down_blocks.9"): v for name, v in unet.items()
        },
        "other shapes": {name: value[:, :2].contiguous() for name, value in unet.items()},
        "not numbers": {**unet, first: unet[first] * float("nan")},
    }
    for name, content in wrong.items():
        file = tmp_path / f"{name}.safetensors"
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            save_file(content, file)
        with pytest.raises(BundleError) as refusal:
            fuse_lora(load_pipeline(base, device="cpu"), file)
        assert str(file) in str(refusal.value)
        assert "\n" not in str(refusal.value)
