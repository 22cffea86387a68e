"""Noise, targets and weights as the papers have them; draws as the seed has them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr

from porcelain.errors import UserError
from training.generator.lora.inputs import StepRandomness
from training.generator.lora.settings import LoraSettings
from training.generator.lora.trainer import Objective, min_snr_weights
from training.loop import EpochSampler

SHAPE = (4, 8, 8)


def scheduler_of(prediction: str, **options: object) -> DDPMScheduler:
    return DDPMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type=prediction,
        **options,
    )


@pytest.mark.parametrize("velocity", [False, True])
def test_min_snr_weights_are_the_papers(velocity: bool) -> None:
    scheduler = scheduler_of("epsilon")
    snr = compute_snr(scheduler, torch.arange(1000))
    expected = snr.clamp(max=5.0) / (snr + 1 if velocity else snr)
    weights = min_snr_weights(scheduler.alphas_cumprod, 5.0, velocity=velocity)
    torch.testing.assert_close(weights, expected, atol=1e-6, rtol=1e-3)
    if not velocity:
        assert weights[0] < 0.01  # hardly any noise
        assert weights[-1] == 1  # hardly anything else


def test_a_level_of_pure_noise_has_a_finite_weight() -> None:
    scheduler = scheduler_of("v_prediction", rescale_betas_zero_snr=True)
    cumulative = torch.cat([scheduler.alphas_cumprod[:-1], torch.zeros(1)])
    assert min_snr_weights(cumulative, 5.0, velocity=True)[-1] == 0
    assert min_snr_weights(cumulative, 5.0, velocity=False)[-1] == 1


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_perfect_answer_costs_nothing(prediction: str) -> None:
    objective = Objective(scheduler_of(prediction), 5.0)
    generator = torch.Generator().manual_seed(0)
    latents, noise = torch.randn((2, 3, *SHAPE), generator=generator)
    timesteps = torch.tensor([1, 500, 998])
    noisy = objective.noisy(latents, noise, timesteps)
    target = objective.target(latents, noise, timesteps)
    alpha = scheduler_of(prediction).alphas_cumprod[timesteps].sqrt().view(-1, 1, 1, 1)
    sigma = (1 - alpha**2).sqrt()
    torch.testing.assert_close(noisy, alpha * latents + sigma * noise)
    expected = noise if prediction == "epsilon" else alpha * noise - sigma * latents
    torch.testing.assert_close(target, expected)
    assert objective.losses(target, target, timesteps).tolist() == [0, 0, 0]
    off = objective.losses(target + 1, target, timesteps)
    weights = min_snr_weights(
        scheduler_of(prediction).alphas_cumprod, 5.0, velocity=prediction != "epsilon"
    )
    torch.testing.assert_close(off, weights[timesteps])


def test_other_predictions_are_refused() -> None:
    with pytest.raises(UserError, match="sample"):
        Objective(scheduler_of("sample"), None)


def draws_of(**settings: object) -> StepRandomness:
    return StepRandomness(
        EpochSampler(np.full(10, 0.1), seed=0), LoraSettings(batch_size=64, **settings), SHAPE, 1000
    )


def test_a_draw_depends_on_seed_and_step_alone() -> None:
    first, again = draws_of(seed=3), draws_of(seed=3)
    first.sample(4)
    for one, two in zip(
        vars(first.sample(5)).values(), vars(again.sample(5)).values(), strict=True
    ):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(two))
    assert not torch.equal(first.sample(5).noise, first.sample(6).noise)
    assert not torch.equal(first.sample(5).noise, draws_of(seed=4).sample(5).noise)
    assert not torch.equal(first.sample(5).noise, first.sample(5).posterior)


def test_shares_are_kept() -> None:
    draws = [draws_of(prompt_dropout=0.25).sample(step) for step in range(40)]
    assert np.mean([d.prompted.float().mean() for d in draws]) == pytest.approx(0.75, abs=0.03)
    assert np.mean([d.flipped.float().mean() for d in draws]) == pytest.approx(0.5, abs=0.03)
    assert not draws_of(flip=False).sample(0).flipped.any()
    assert draws_of(prompt_dropout=0.0).sample(0).prompted.all()
    levels = torch.cat([d.timesteps for d in draws])
    assert levels.min() < 20
    assert levels.max() > 979


def test_noise_offset_shifts_whole_channels() -> None:
    plain, shifted = draws_of().sample(0), draws_of(noise_offset=0.5).sample(0)
    difference = shifted.noise - plain.noise
    flat = difference.flatten(2)
    torch.testing.assert_close(flat, flat[..., :1].expand_as(flat), atol=1e-5, rtol=0)
    assert float(flat[..., 0].std()) == pytest.approx(0.5, abs=0.1)
    assert torch.equal(shifted.timesteps, plain.timesteps)
