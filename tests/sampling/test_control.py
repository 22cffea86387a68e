"""Pictures steered by a ControlNet, against diffusers' own pipeline with one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
from PIL import Image

from porcelain.errors import UserError
from sampling.base import load_pipeline
from sampling.finding import find_controlnet
from sampling.generator import Generator, SampleRequest
from tests.sampling.comparing import ALIKE, psnr
from tests.sampling.tiny_pipeline import SIZE, make_tiny_controlnet

STEPS = 4
REQUESTS = [
    SampleRequest("museum photograph of a vase, celadon glaze", 1, 7.5),
    SampleRequest("museum photograph of a bowl", 2, 1.0),
]


@pytest.fixture(scope="module")
def controlnet(base, tmp_path_factory):
    return make_tiny_controlnet(tmp_path_factory.mktemp("control") / "net", base)


@pytest.fixture(scope="module")
def generator(base, controlnet):
    return Generator.from_pipeline(load_pipeline(base, device="cpu"), controlnet=controlnet)


@pytest.fixture(scope="module")
def controls():
    rng = np.random.default_rng(0)
    cells = rng.random((2, 4, 4, 1)) < 0.5
    edges = np.kron(cells, np.ones((1, SIZE // 4, SIZE // 4, 3))) * 255
    return list(edges.astype(np.uint8))


def sample(generator, requests, controls=()):
    return generator.sample(requests, steps=STEPS, width=SIZE, height=SIZE, controls=controls)


def test_a_steered_picture_is_the_one_of_diffusers_own_pipeline(
    base, controlnet, generator, controls
):
    pipeline = load_pipeline(base, device="cpu")
    plain = StableDiffusionControlNetPipeline(
        **pipeline.components,
        controlnet=ControlNetModel.from_pretrained(controlnet),
        requires_safety_checker=False,
    )
    plain.set_progress_bar_config(disable=True)
    made = sample(generator, REQUESTS, controls)
    for asked, control, ours in zip(REQUESTS, controls, made, strict=True):
        theirs = plain(
            asked.prompt,
            image=Image.fromarray(control),
            num_inference_steps=STEPS,
            guidance_scale=asked.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(asked.seed),
            output_type="np",
        ).images[0]
        assert psnr(ours, (theirs * 255).round().astype(np.uint8)) >= ALIKE


def test_a_picture_depends_on_its_control(base, generator, controls):
    one, again, other = (
        sample(generator, REQUESTS[:1], [control])[0]
        for control in (controls[0], controls[0], controls[1])
    )
    assert np.array_equal(one, again)
    assert psnr(one, other) < ALIKE
    plain = Generator.from_pipeline(load_pipeline(base, device="cpu"))
    free = sample(plain, REQUESTS[:1])[0]
    assert np.array_equal(sample(generator, REQUESTS[:1])[0], free)
    assert psnr(one, free) < ALIKE
    with pytest.raises(ValueError, match="without a ControlNet"):
        sample(plain, REQUESTS, controls)
    with pytest.raises(ValueError, match="per request"):
        sample(generator, REQUESTS, controls[:1])


def test_what_is_no_controlnet_of_this_base_is_said(base, controlnet, tmp_path):
    assert find_controlnet(str(controlnet)) == controlnet
    with pytest.raises(UserError, match="no ControlNet 'nowhere'"):
        find_controlnet("nowhere")
    with pytest.raises(UserError, match="no ControlNet"):
        find_controlnet(str(tmp_path))
    pipeline = load_pipeline(base, device="cpu")
    with pytest.raises(UserError, match="cannot be loaded as a ControlNet"):
        Generator.from_pipeline(pipeline, controlnet=base)
    wide = make_tiny_controlnet(tmp_path / "coarse", base, embedding=(4, 8, 8))
    with pytest.raises(UserError, match="another kind of base"):
        Generator.from_pipeline(pipeline, controlnet=wide)
