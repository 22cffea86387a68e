"""Batches of different requests, against one at a time and against a plain pipeline."""

from __future__ import annotations

import threading

import diffusers
import numpy as np
import pytest
import torch

from porcelain.errors import UserError
from sampling.base import load_pipeline
from sampling.generator import Generator, SampleRequest, SamplingCancelledError
from tests.sampling.comparing import ALIKE, plain_picture, psnr
from tests.sampling.tiny_pipeline import SIZE

STEPS = 4
SIZES = {"steps": STEPS, "width": SIZE, "height": SIZE}
REQUESTS = [
    SampleRequest("museum photograph of a vase, celadon glaze", 1, 7.5),
    SampleRequest("museum photograph of a bowl", 1, 7.5),
    SampleRequest("museum photograph of a bowl", 2, 1.0),
    SampleRequest("", 3, 0.0),
    SampleRequest("museum photograph of a bowl", 2, 4.0),
]
# Deterministic, of several orders, and such as draw noise at every step.
SCHEDULERS = [
    "PNDMScheduler",
    "DDIMScheduler",
    "DDPMScheduler",
    "DPMSolverMultistepScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "UniPCMultistepScheduler",
]


@pytest.fixture(scope="module")
def generator(base):
    return Generator.from_pipeline(load_pipeline(base, device="cpu"))


@pytest.fixture(scope="module")
def alone(generator):
    return [generator.sample([request], **SIZES)[0] for request in REQUESTS]


def test_pictures_are_rgb_of_the_size_asked_for(generator):
    wide, other = generator.sample(REQUESTS[:2], steps=1, width=96, height=64)
    assert wide.shape == other.shape == (64, 96, 3)
    assert wide.dtype == np.uint8
    assert wide.std() > 5
    assert generator.sample([], **SIZES) == []


def test_alone_the_same_request_gives_the_same_bytes(base, generator, alone):
    again = Generator.from_pipeline(load_pipeline(base, device="cpu"))
    for request, picture in zip(REQUESTS, alone, strict=True):
        assert np.array_equal(generator.sample([request], **SIZES)[0], picture)
        assert np.array_equal(again.sample([request], **SIZES)[0], picture)


def test_requests_differ_by_prompt_seed_and_guidance(alone):
    for one in range(len(alone)):
        for other in range(one):
            assert psnr(alone[one], alone[other]) < ALIKE


def test_a_picture_does_not_depend_on_what_else_is_in_the_batch(generator, alone):
    orders = [[0, 1, 2, 3, 4], [3, 2, 0], [4, 4, 4, 2], [2, 3], [0, 1]]
    for order in orders:
        together = generator.sample([REQUESTS[i] for i in order], **SIZES)
        for place, picture in zip(order, together, strict=True):
            assert psnr(picture, alone[place]) >= ALIKE


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("layout", ["base", "second_base"])
def test_pictures_are_those_of_a_plain_pipeline(request, layout, name):
    folder = request.getfixturevalue(layout)
    plain, ours = (load_pipeline(folder, device="cpu") for _ in range(2))
    for pipeline in (plain, ours):
        kind = getattr(diffusers, name)
        pipeline.scheduler = kind.from_config(pipeline.scheduler.config)
    together = Generator.from_pipeline(ours).sample(REQUESTS, **SIZES)
    for wanted, picture in zip(REQUESTS, together, strict=True):
        assert psnr(picture, plain_picture(plain, wanted, STEPS, SIZE)) >= ALIKE


def test_half_precision_starts_from_the_same_noise(base, alone):
    pipeline = load_pipeline(base, device="cpu", dtype=torch.bfloat16)
    halves = Generator.from_pipeline(pipeline).sample(REQUESTS, **SIZES)
    for half, whole in zip(halves, alone, strict=True):
        assert psnr(half, whole) > 20


def test_only_guided_requests_are_doubled(generator, monkeypatch):
    rows = []
    unet = generator._pipeline.unet
    forward = unet.forward

    def counted(sample, *arguments, **options):
        rows.append(len(sample))
        return forward(sample, *arguments, **options)

    monkeypatch.setattr(unet, "forward", counted)
    for some, expected in ((REQUESTS, 8), (REQUESTS[2:4], 2), (REQUESTS[:2], 4)):
        rows.clear()
        generator.sample(some, **SIZES)
        assert set(rows) == {expected}


def test_a_prompt_is_encoded_once(base, monkeypatch):
    pipeline = load_pipeline(base, device="cpu")
    generator = Generator.from_pipeline(pipeline)
    encoded = []
    encode = pipeline.encode_prompt

    def counted(prompt, *arguments):
        encoded.append(prompt)
        return encode(prompt, *arguments)

    monkeypatch.setattr(pipeline, "encode_prompt", counted)
    for _ in range(2):
        generator.sample(REQUESTS, steps=1, width=SIZE, height=SIZE)
    assert sorted(encoded) == sorted({request.prompt for request in REQUESTS})


def test_the_least_recently_used_prompt_leaves_first(base):
    from sampling.denoising import PromptEmbeddings

    embeddings = PromptEmbeddings(load_pipeline(base, device="cpu"), capacity=2)
    first = embeddings.of("a")
    assert first.shape[0] == 1
    embeddings.of("b")
    assert embeddings.of("a") is first
    embeddings.of("c")
    assert len(embeddings) == 2
    assert "a" in embeddings
    assert "b" not in embeddings


def test_threads_take_turns(generator, alone):
    made = {}

    def work(place):
        made[place] = generator.sample([REQUESTS[place]], **SIZES)[0]

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(REQUESTS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for place, picture in enumerate(alone):
        assert np.array_equal(made[place], picture)


def test_steps_are_told_and_sampling_can_be_stopped(generator, alone):
    told = []

    def watch(done, total):
        told.append((done, total))
        return True

    generator.sample(REQUESTS[:1], **SIZES, on_step=watch)
    total = told[-1][1]
    assert told == [(number, total) for number in range(1, total + 1)]
    told.clear()
    with pytest.raises(SamplingCancelledError):
        generator.sample(
            REQUESTS, **SIZES, on_step=lambda done, total: watch(done, total) and done < 2
        )
    assert len(told) == 2
    assert np.array_equal(generator.sample(REQUESTS[:1], **SIZES)[0], alone[0])


def test_large_batches_are_decoded_some_at_a_time(generator, alone, monkeypatch):
    monkeypatch.setattr("sampling.generator.DECODED_AT_ONCE", {"cpu": 2 * SIZE * SIZE})
    calls = []
    vae = generator._pipeline.vae
    decode = vae.decode
    monkeypatch.setattr(vae, "decode", lambda z, **o: calls.append(len(z)) or decode(z, **o))
    together = generator.sample(REQUESTS, **SIZES)
    assert calls == [2, 2, 1]
    assert all(psnr(a, b) >= ALIKE for a, b in zip(together, alone, strict=True))


@pytest.mark.parametrize(
    "options", [{"steps": 0}, {"steps": 1001}, {"width": 60}, {"height": 0}, {"height": -8}]
)
def test_impossible_steps_and_sizes_are_said(generator, options):
    with pytest.raises(UserError, match="not possible"):
        generator.sample(REQUESTS, **{**SIZES, **options})
