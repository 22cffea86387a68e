"""Pictures changed by their requests, against diffusers' own image-to-image pipeline."""

from __future__ import annotations

import diffusers
import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline

from porcelain.errors import UserError
from sampling.base import load_pipeline
from sampling.generator import Generator, SampleRequest, SamplingCancelledError
from tests.sampling.comparing import ALIKE, psnr
from tests.sampling.tiny_pipeline import SIZE

STEPS = 8
REQUESTS = [
    SampleRequest("museum photograph of a vase, celadon glaze", 1, 7.5),
    SampleRequest("museum photograph of a bowl", 2, 1.0),
]
SCHEDULERS = ["PNDMScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler"]


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    return list(np.kron(coarse, np.ones((1, SIZE // 8, SIZE // 8, 1), dtype=np.uint8)))


@pytest.fixture(scope="module")
def generator(base):
    pipeline = load_pipeline(base, device="cpu")
    pipeline.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(
        pipeline.scheduler.config
    )  # as many timesteps as steps
    return Generator.from_pipeline(pipeline)


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("layout", ["base", "second_base"])
def test_a_variation_is_the_one_of_diffusers_own_pipeline(request, pictures, layout, name):
    pipeline = load_pipeline(request.getfixturevalue(layout), device="cpu")
    kind = getattr(diffusers, name)
    # As diffusers' image-to-image pipeline would set it, with a warning.
    pipeline.scheduler = kind.from_config(pipeline.scheduler.config, clip_sample=False)
    ours = Generator.from_pipeline(pipeline).vary(REQUESTS, pictures, strength=0.5, steps=STEPS)
    plain = StableDiffusionImg2ImgPipeline(**pipeline.components, requires_safety_checker=False)
    plain.set_progress_bar_config(disable=True)
    for asked, picture, ours_made in zip(REQUESTS, pictures, ours, strict=True):
        unit = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
        with torch.no_grad():
            latents = pipeline.vae.encode(unit).latent_dist.mode()
        theirs = plain(
            asked.prompt,
            image=latents * pipeline.vae.config.scaling_factor,
            strength=0.5,
            num_inference_steps=STEPS,
            guidance_scale=asked.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(asked.seed),
            output_type="np",
        ).images[0]
        assert psnr(ours_made, (theirs * 255).round().astype(np.uint8)) >= ALIKE


def test_strength_takes_its_share_of_the_steps(generator, pictures):
    for strength, expected in ((0.01, 1), (0.25, 2), (0.5, 4)):
        seen = []
        generator.vary(
            REQUESTS,
            pictures,
            strength=strength,
            steps=STEPS,
            on_step=lambda step, total, seen=seen: seen.append((step, total)) or True,
        )
        assert seen == [(step, expected) for step in range(1, expected + 1)]


def test_a_variation_depends_on_its_picture_and_its_seed(generator, pictures):
    ask = REQUESTS[:1]
    one, again, other, seeded = (
        generator.vary([request], [picture], strength=0.5, steps=STEPS)[0]
        for request, picture in (
            (ask[0], pictures[0]),
            (ask[0], pictures[0]),
            (ask[0], pictures[1]),
            (SampleRequest(ask[0].prompt, 9, 7.5), pictures[0]),
        )
    )
    assert one.shape == pictures[0].shape
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, seeded)


def test_what_cannot_be_varied_is_said(generator, pictures):
    for strength in (0.0, 1.5, -1.0, float("nan")):
        with pytest.raises(UserError, match="strength"):
            generator.vary(REQUESTS, pictures, strength=strength, steps=STEPS)
    with pytest.raises(UserError, match="multiples"):
        generator.vary(REQUESTS[:1], [pictures[0][:-3]], strength=0.5, steps=STEPS)
    with pytest.raises(ValueError, match="1 pictures for 2 requests"):
        generator.vary(REQUESTS, pictures[:1], strength=0.5, steps=STEPS)
    with pytest.raises(SamplingCancelledError):
        generator.vary(REQUESTS, pictures, strength=0.5, steps=STEPS, on_step=lambda *_: False)
    assert generator.vary([], [], strength=0.5, steps=STEPS) == []
