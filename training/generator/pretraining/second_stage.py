"""From latents to samples: train text encoder and UNet, with sample grids on the way."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from accelerate.utils import set_seed
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor
from transformers import CLIPTokenizer

from training.generator.pretraining.architecture import (
    build_scheduler,
    build_text_encoder,
    build_unet,
)
from training.generator.pretraining.assembly import assemble
from training.generator.pretraining.captions import Captions
from training.generator.pretraining.diffusion import Denoiser, DiffusionObjective
from training.generator.pretraining.grid import GridPlan, sample_grid
from training.generator.pretraining.precision import autocast, fast_layout
from training.generator.pretraining.stage import StageTrainer
from training.generator.pretraining.start import Start, goes_on, latent_factor
from training.generator.pretraining.workshop import Effort, Workshop

PREVIEW_STEPS = 20
GUIDANCE_SCALE = 3.0


@dataclass(frozen=True)
class SecondStage:
    """A trained second stage.

    Attributes:
        objective: With the denoiser, which carries the averaged weights.
        effort: What it took.
    """

    objective: DiffusionObjective
    effort: Effort


def run_second_stage(
    shop: Workshop,
    autoencoder: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    latents: Tensor,
    captions: Captions,
    plan: GridPlan,
    start: Start | None = None,
) -> SecondStage:
    """Train text encoder and UNet on latents and prompts.

    Args:
        shop: The run.
        autoencoder: Turns samples into pictures on the way.
        tokenizer: Of the prompts.
        latents: Of the training pictures and their mirror images, [N, 2, C, h, w].
        captions: Of the training pictures.
        plan: What the sample grids show.
        start: Brings weights to go on from, or none.
    """
    settings = shop.settings.diffusion
    set_seed(shop.settings.seed + 1)
    denoiser = build_denoiser(shop, autoencoder, tokenizer, start)
    if shop.settings.runtime.compile:
        denoiser.compile()
    trainer = StageTrainer(
        "diffusion", denoiser, settings, shop.settings.runtime, shop.work / "diffusion.pt"
    )
    objective = DiffusionObjective(
        denoiser, latents, captions, build_scheduler(), settings, shop.settings.seed
    )

    def preview(step: int) -> None:
        grid = preview_grid(shop, autoencoder, denoiser, tokenizer, plan)
        grid.save(shop.previews / f"diffusion-{step:07d}.png")

    trainer.train(objective, shop.reporter.step, preview, shop.logs)
    trainer.finish()
    return SecondStage(objective, Effort.of(trainer))


def build_denoiser(
    shop: Workshop, autoencoder: AutoencoderKL, tokenizer: CLIPTokenizer, start: Start | None
) -> Denoiser:
    """Text encoder and UNet for the latents of this autoencoder: those of `start`, or random."""
    settings = shop.settings.diffusion
    if goes_on(start):
        denoiser = Denoiser(*start.load_denoiser())
    else:
        size = shop.settings.size // latent_factor(autoencoder)
        denoiser = Denoiser(
            build_text_encoder(settings, tokenizer),
            build_unet(settings, autoencoder.config.latent_channels, size),
        )
    if shop.device.type == "cpu":
        denoiser.plain_attention()
    return denoiser.to(shop.device, memory_format=fast_layout(shop.device))


@torch.no_grad()
def preview_grid(
    shop: Workshop,
    autoencoder: AutoencoderKL,
    denoiser: Denoiser,
    tokenizer: CLIPTokenizer,
    plan: GridPlan,
) -> Image.Image:
    """Samples of the denoiser as it is; the seeds are the same at every step."""
    pipeline = assemble(autoencoder, denoiser.text_encoder, tokenizer, denoiser.unet)
    with autocast(shop.device, shop.settings.runtime.precision):
        return sample_grid(
            pipeline,
            plan,
            steps=PREVIEW_STEPS,
            guidance_scale=GUIDANCE_SCALE,
            seed=shop.settings.seed,
            size=shop.settings.size,
        )
