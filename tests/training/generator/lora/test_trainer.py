"""Steps: what they compute, what they clip, and that nothing but (seed, step) decides them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from diffusers.training_utils import compute_snr
from torch import Tensor

from porcelain.errors import UserError
from training.generator.lora.model import set_adapters, update_sizes
from training.generator.lora.pipeline import fit
from training.generator.lora.preparation import LoraRun, prepare_run
from training.generator.lora.settings import LoraSettings
from training.generator.lora.trainer import LoraTrainer, Reporter, schedule_of

Build = Callable[..., LoraRun]


class InterruptionError(Exception):
    """Stands for a kill between two steps."""


@pytest.fixture
def build(
    photographs: Path,
    settings: LoraSettings,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Build:
    """Sets up runs of the same settings, save for what is changed."""
    cache = tmp_path_factory.getbasetemp() / "latents"

    def build(name: str = "work", **changes: object) -> LoraRun:
        changed = settings.model_copy(update=changes)
        return prepare_run(photographs, tmp_path / name, changed, cache=cache)

    return build


def weights(trainer: LoraTrainer) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in trainer.loop.parameters.items()}


def test_the_loss_is_that_of_diffusers_from_scratch(build: Build, base: Path) -> None:
    """Each picture encoded, noised, answered and weighed with diffusers' own parts."""
    run = build(steps=1, noise_offset=0.0)
    trainer = run.trainer
    draw = trainer.randomness.sample(0)
    trainer.train()
    pipeline = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
    scheduler = DDPMScheduler.from_pretrained(base, subfolder="scheduler")
    store, material = trainer._inputs.latents, trainer._inputs
    mean, deviation = store.gather(material.rows[draw.pictures], draw.flipped)
    latents = (mean + deviation * draw.posterior) * pipeline.vae.config.scaling_factor
    prompts = ["", *sorted(set(run.rarest_prompts(9)))]
    texts = [
        prompts[material.prompts[picture]] if prompted else ""
        for picture, prompted in zip(draw.pictures, draw.prompted, strict=True)
    ]
    assert "" in texts
    with torch.no_grad():
        conditions = pipeline.encode_prompt(texts, "cpu", 1, False)[0]
        noisy = scheduler.add_noise(latents, draw.noise, draw.timesteps)
        answer = pipeline.unet(noisy, draw.timesteps, conditions).sample
    snr = compute_snr(scheduler, draw.timesteps)
    squared = (answer - draw.noise).pow(2).mean(dim=(1, 2, 3))
    expected = float((squared * snr.clamp(max=5.0) / snr).mean())
    assert trainer.loop.history.losses[0] == pytest.approx(expected, rel=1e-4)


def test_a_huge_gradient_is_scaled_down(build: Build) -> None:
    """The example that everyone copies clips nothing: its parameters are an exhausted iterator."""
    trainer = build(gradient_norm=0.01, steps=3).trainer
    seen: list[float] = []
    step = trainer.loop.optimizer.step

    def spy(*args: object, **options: object) -> object:
        gradients = [p.grad for p in trainer.loop.parameters.values()]
        assert all(g is not None for g in gradients)
        seen.append(float(torch.stack([g.norm() for g in gradients if g is not None]).norm()))
        return step(*args, **options)

    trainer.loop.optimizer.step = spy
    losses = trainer._objective.losses
    trainer._objective.losses = lambda *tensors: 1e6 * losses(*tensors)
    trainer.train()
    assert min(trainer.loop.history.norms) > 1e3  # before clipping
    assert seen == pytest.approx([0.01] * 3, rel=1e-3)  # at every step, not the first alone


def test_a_small_gradient_is_left_alone(build: Build) -> None:
    clipped, free = build("a", gradient_norm=1e3).trainer, build("b", gradient_norm=1e9).trainer
    clipped.train()
    free.train()
    assert max(free.loop.history.norms) < 1e3
    for name, value in weights(free).items():
        assert torch.equal(value, weights(clipped)[name]), name


@pytest.mark.parametrize("text_encoder", [False, True])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(build: Build, text_encoder: bool) -> None:
    whole = build("whole", text_encoder=text_encoder).trainer
    whole.train()

    def kill(step: int) -> None:
        if step == 4:
            raise InterruptionError

    interrupted = build("parts", text_encoder=text_encoder, checkpoint_seconds=0)
    with pytest.raises(InterruptionError):
        interrupted.trainer.train(kill)
    again = build("parts", text_encoder=text_encoder).trainer
    assert again.loop.step == 3  # the checkpoint before the one that was lost
    again.train()
    expected = weights(whole)
    for name, value in weights(again).items():
        assert torch.equal(value, expected[name]), name
    assert again.loop.history == whole.loop.history
    assert len(again.loop.history.losses) == 6


def test_other_settings_begin_anew_and_others_go_on(build: Build) -> None:
    build("work").trainer.train()
    assert build("work", accumulation=2, gradient_checkpointing=True).trainer.loop.step == 6
    assert build("work", rank=2).trainer.loop.step == 0


@pytest.mark.parametrize("changes", [{"accumulation": 2}, {"gradient_checkpointing": True}])
@pytest.mark.parametrize("text_encoder", [False, True])
def test_saving_memory_changes_no_result(
    build: Build, changes: dict[str, object], text_encoder: bool
) -> None:
    plain = build("plain", steps=2, text_encoder=text_encoder).trainer
    frugal = build("frugal", steps=2, text_encoder=text_encoder, **changes).trainer
    assert frugal.denoiser.unet.is_gradient_checkpointing == ("accumulation" not in changes)
    plain.train()
    frugal.train()
    assert frugal.loop.history.losses == pytest.approx(plain.loop.history.losses, rel=1e-4)
    assert frugal.loop.history.norms == pytest.approx(plain.loop.history.norms, rel=1e-3)


def test_every_adapter_learns(build: Build) -> None:
    trainer = build(text_encoder=True).trainer
    names = set(trainer.loop.parameters)
    assert any(name.startswith("text_encoder.") for name in names)
    assert len([n for n, p in trainer.denoiser.named_parameters() if p.requires_grad]) == len(names)
    before = weights(trainer)
    trainer.train()
    unet = [s for n, s in update_sizes(trainer.pipeline).items() if n.startswith("unet.down")]
    assert min(unet) > 0
    moved = [not torch.equal(value, before[name]) for name, value in weights(trainer).items()]
    assert sum(moved) > 0.9 * len(moved)  # one position attends to itself: two layers get nothing


def test_frozen_weights_rest(build: Build) -> None:
    trainer = build().trainer
    before = {
        name: p.clone() for name, p in trainer.denoiser.named_parameters() if not p.requires_grad
    }
    trainer.train()
    for name, parameter in trainer.denoiser.named_parameters():
        if name in before:
            assert torch.equal(parameter, before[name]), name


def test_half_precision_is_for_what_is_frozen(build: Build) -> None:
    """Matrices in bfloat16, adapters and their optimiser in float32."""
    exact = build("exact").trainer
    exact.train()
    half = build("half", mixed_precision="bf16").trainer
    dtypes = {p.requires_grad: p.dtype for p in half.denoiser.parameters()}
    assert dtypes == {False: torch.bfloat16, True: torch.float32}
    half.train()
    assert half.loop.history.losses == pytest.approx(exact.loop.history.losses, rel=0.05)
    assert {p.dtype for p in half.finish().unet.parameters()} == {torch.float32}


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_what_it_is_shown_it_learns(
    build: Build, base: Path, velocity_base: Path, prediction: str
) -> None:
    folder = base if prediction == "epsilon" else velocity_base
    trainer = build(base=str(folder), steps=25, batch_size=8, noise_offset=0.0).trainer
    trainer.train()
    losses = {}
    for enabled in (False, True):
        set_adapters(trainer.pipeline, enabled=enabled)
        with torch.no_grad():  # the same noise for both
            stream = trainer.batches(range(10))
            losses[enabled] = sum(float(trainer.picture_losses(b).mean()) for b in stream)
    assert losses[True] < 0.97 * losses[False], losses


def test_a_run_that_diverges_says_so(build: Build) -> None:
    trainer = build().trainer
    with torch.no_grad():
        next(iter(trainer.loop.parameters.values())).fill_(float("nan"))
    with pytest.raises(UserError, match="--learning-rate"):
        trainer.train()


def test_a_batch_that_cannot_be_divided_is_refused(build: Build) -> None:
    with pytest.raises(UserError, match="--accumulation 5"):
        build(accumulation=5)


def test_a_small_base_moves_faster() -> None:
    small, large = (LoraSettings().resolved(100, 128, width, "no") for width in (96, 320))
    assert small.peak_rate() > 10 * large.peak_rate()
    assert large.peak_rate() == 1e-4
    assert LoraSettings(learning_rate=2e-4).resolved(100, 128, 96, "no").peak_rate() == 2e-4
    with pytest.raises(ValueError, match="resolve"):
        LoraSettings().peak_rate()


def test_the_rate_rises_and_falls() -> None:
    settings = LoraSettings(steps=100, warmup=0.1, learning_rate=1.0)
    rates = [schedule_of(settings).factor(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(rates[9], rel=0.05)
    assert rates[-1] < 0.001
    constant = settings.model_copy(update={"schedule": "constant"})
    assert {schedule_of(constant).factor(step) for step in range(10, 100)} == {1.0}


def test_a_run_tells_and_shows_how_it_goes(build: Build, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    steps: list[int] = []
    grids: list[str] = []
    run = build(previews=3)
    reporter = Reporter(
        step=lambda done, total, loss: steps.append(done),
        preview=lambda file: grids.append(file.name),
    )
    fit(run, reporter, tmp_path / "logs")
    assert steps[-1] == 6
    assert grids == ["grid-000002.png", "grid-000004.png", "grid-000006.png"]
    events = EventAccumulator(str(tmp_path / "logs")).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(1, 7))
    assert [event.step for event in events.Images("samples")] == [2, 4, 6]
    updates = [tag for tag in events.Tags()["scalars"] if tag.startswith("mean_update/unet.")]
    assert len(updates) == len(run.trainer.loop.parameters) // 2
    assert events.Scalars(updates[-1])[-1].value > 0


def test_looking_at_a_run_does_not_change_it(build: Build) -> None:
    watched, alone = build("watched", previews=6), build("alone")
    fit(watched)
    alone.trainer.train()
    for name, value in weights(alone.trainer).items():
        assert torch.equal(value, weights(watched.trainer)[name]), name
