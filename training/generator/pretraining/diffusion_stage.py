"""The diffusion stage: text encoder and UNet trained together on latents and prompts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from accelerate.utils import set_seed
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from training.generator.pretraining.data import Captions
from training.generator.pretraining.model import (
    TRAINING_TIMESTEPS,
    assemble,
    build_scheduler,
    build_text_encoder,
    build_unet,
)
from training.generator.pretraining.report import GridPlan, sample_grid
from training.generator.pretraining.settings import DiffusionSettings
from training.generator.pretraining.stage import (
    InitialWeights,
    RunContext,
    StageStats,
    continues_base,
    latent_factor,
    step_generator,
    train_stage,
)
from training.loop import EpochSampler
from training.processes import computing_in, fast_layout

STAGE = 2


class Denoiser(nn.Module):
    """Text encoder and UNet, trained as one."""

    def __init__(self, text_encoder: CLIPTextModel, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.unet = unet

    def plain_attention(self) -> None:
        """Compute attention as two matrix products.

        Fused attention's backward pass on a CPU takes two to five times as long at these sizes.
        """
        self.unet.set_attn_processor(AttnProcessor())
        self.text_encoder.set_attn_implementation("eager")

    def forward(self, latents: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """Predicted velocity [B, C, h, w] of noisy latents, given token ids [B, length]."""
        context = self.text_encoder(tokens)[0]
        output: Tensor = self.unet(latents, timesteps, context).sample
        return output


@dataclass(frozen=True)
class DiffusionObjective:
    """The error of the predicted velocity, weighted by min-SNR.

    Attributes:
        denoiser: In training.
        latents: Latents of the training pictures and their mirror images, float16 [N, 2, C, h, w].
        captions: Prompts of the training pictures.
        scheduler: Adds noise.
        settings: Weights and chances.
        seed: Seed of order, mirroring, noise, timesteps and dropped labels.
    """

    denoiser: Denoiser
    latents: Tensor
    captions: Captions
    scheduler: DDIMScheduler
    settings: DiffusionSettings
    seed: int

    @cached_property
    def _sampler(self) -> EpochSampler:
        return EpochSampler.uniform(len(self.latents), self.seed)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """The weighted loss of `step`."""
        settings, device = self.settings, self.latents.device
        generator = step_generator(self.seed, STAGE, step, device)
        indices = self._sampler.batch(step, settings.batch_size)
        tokens = self.captions.tokens(
            indices.tolist(),
            dropped_labels=settings.dropped_labels,
            empty_prompts=settings.empty_prompts,
            seed=(self.seed, STAGE, step),
        ).to(device)
        places = torch.from_numpy(indices).to(device)
        mirrored = torch.randint(0, 2, (len(indices),), generator=generator, device=device)
        clean = self.latents[places, mirrored].float()
        timesteps = stratified_timesteps(len(clean), generator, device)
        noise = torch.randn(clean.shape, generator=generator, device=device)
        noisy = self.scheduler.add_noise(clean, noise, timesteps)
        wanted = self.scheduler.get_velocity(clean, noise, timesteps)
        error = (self.denoiser(noisy, timesteps, tokens).float() - wanted).square()
        weight = min_snr_weight(self.scheduler, timesteps, settings.snr_limit)
        return {"velocity": (weight * error.mean(dim=(1, 2, 3))).mean()}


def stratified_timesteps(count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Timesteps [count] spread evenly over the schedule, with one random offset.

    The loss of a batch varies less than with independent draws (Kingma et al., Variational
    Diffusion Models, arXiv 2107.00630).
    """
    offset = torch.rand((), generator=generator, device=device)
    places = (torch.arange(count, device=device) + offset) / count
    order = torch.randperm(count, generator=generator, device=device)
    return (places * TRAINING_TIMESTEPS).long().clamp_max(TRAINING_TIMESTEPS - 1)[order]


def min_snr_weight(scheduler: DDIMScheduler, timesteps: Tensor, limit: float) -> Tensor:
    """Weight of the velocity's squared error: min(1, limit / (SNR + 1)).

    This is min-SNR with one added to the ratio, as a velocity has at the noisy end: the last
    timestep is pure noise here (SNR 0) and would otherwise not be learned at all.

    Args:
        scheduler: Knows the ratio of signal to noise at every timestep.
        timesteps: [B].
        limit: Gamma.
    """
    kept: Tensor = scheduler.alphas_cumprod.to(timesteps.device)[timesteps].double()
    ratio = kept / (1.0 - kept)
    return (limit / (ratio + 1.0)).clamp_max(1.0).float()


@torch.inference_mode()
def held_out_loss(
    objective: DiffusionObjective,
    latents: Tensor,
    captions: Captions,
    dtype: torch.dtype,
    batch_size: int = 64,
) -> float:
    """The mean squared error of the velocity on pictures that training did not see.

    Args:
        objective: With the trained denoiser.
        latents: Latents of those pictures, [N, 2, C, h, w].
        captions: Prompts of those pictures; nothing is dropped.
        dtype: In which matrices are multiplied.
        batch_size: Pictures at once.
    """
    device = objective.latents.device
    total = 0.0
    for start in range(0, len(latents), batch_size):
        clean = latents[start : start + batch_size, 0].float().to(device)
        generator = step_generator(0, STAGE, start, device)
        timesteps = stratified_timesteps(len(clean), generator, device)
        noise = torch.randn(clean.shape, generator=generator, device=device)
        tokens = captions.tokens(range(start, start + len(clean))).to(device)
        with computing_in(dtype, device):
            output = objective.denoiser(
                objective.scheduler.add_noise(clean, noise, timesteps), timesteps, tokens
            )
        wanted = objective.scheduler.get_velocity(clean, noise, timesteps)
        total += float((output.float() - wanted).square().mean(dim=(1, 2, 3)).sum())
    return total / max(1, len(latents))


PREVIEW_STEPS = 20
GUIDANCE_SCALE = 3.0


@dataclass(frozen=True)
class DiffusionResult:
    """The result of the diffusion stage.

    Attributes:
        objective: With the denoiser, which carries the averaged weights.
        stats: What it took.
    """

    objective: DiffusionObjective
    stats: StageStats


def run_diffusion_stage(
    context: RunContext,
    autoencoder: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    latents: Tensor,
    captions: Captions,
    plan: GridPlan,
    start: InitialWeights | None = None,
) -> DiffusionResult:
    """Train text encoder and UNet on latents and prompts.

    Args:
        context: The run.
        autoencoder: Turns samples into pictures on the way.
        tokenizer: The tokenizer of the prompts.
        latents: Latents of the training pictures and their mirror images, [N, 2, C, h, w].
        captions: Prompts of the training pictures.
        plan: What the sample grids show.
        start: Brings weights to go on from, or none.
    """
    settings = context.settings.diffusion
    set_seed(context.settings.seed + 1)
    denoiser = build_denoiser(context, autoencoder, tokenizer, start)
    if context.settings.runtime.compile:
        denoiser.compile()
    objective = DiffusionObjective(
        denoiser, latents, captions, build_scheduler(), settings, context.settings.seed
    )

    def preview(step: int, module: nn.Module) -> None:
        grid = preview_grid(context, autoencoder, module, tokenizer, plan)
        grid.save(context.previews / f"diffusion-{step:07d}.png")

    stats = train_stage("diffusion", denoiser, settings, context, objective, preview)
    return DiffusionResult(objective, stats)


def build_denoiser(
    context: RunContext,
    autoencoder: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    start: InitialWeights | None,
) -> Denoiser:
    """Text encoder and UNet for the latents of this autoencoder: those of `start`, or random."""
    settings = context.settings.diffusion
    if continues_base(start):
        denoiser = Denoiser(*start.load_denoiser())
    else:
        size = context.settings.size // latent_factor(autoencoder)
        denoiser = Denoiser(
            build_text_encoder(settings, tokenizer),
            build_unet(settings, autoencoder.config.latent_channels, size),
        )
    if context.device.type == "cpu":
        denoiser.plain_attention()
    denoiser.to(memory_format=fast_layout(context.device))
    return denoiser.to(context.device)


@torch.no_grad()
def preview_grid(
    context: RunContext,
    autoencoder: AutoencoderKL,
    denoiser: nn.Module,
    tokenizer: CLIPTokenizer,
    plan: GridPlan,
) -> Image.Image:
    """Samples of the denoiser as it is; the seeds are the same at every step."""
    pipeline = assemble(autoencoder, denoiser.text_encoder, tokenizer, denoiser.unet)
    with computing_in(context.dtype, context.device):
        return sample_grid(
            pipeline,
            plan,
            steps=PREVIEW_STEPS,
            guidance_scale=GUIDANCE_SCALE,
            seed=context.settings.seed,
            size=context.settings.size,
        )
