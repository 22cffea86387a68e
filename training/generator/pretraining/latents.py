"""Latents of the training pictures, computed once, and their normalisation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from training.generator.pretraining.autoencoder import Pixels, to_model_range

LEAST_DEVIATION = 1e-3


@torch.inference_mode()
def encode_pictures(
    autoencoder: AutoencoderKL,
    pixels: Pixels,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """The posterior of every picture and of its mirror image.

    Args:
        autoencoder: In evaluation mode.
        pixels: uint8 [N, H, W, 3].
        on_progress: Called with pictures done and in all.

    Returns:
        Means, float32 [N, 2, C, h, w] on the CPU (the second is of the mirror image), and the
        mean posterior variance per channel [C].
    """
    device = next(autoencoder.parameters()).device
    batch_size = 4 if device.type == "cpu" else 64  # what fits a cache is faster
    means = []
    variance, seen = torch.zeros(autoencoder.config.latent_channels), 0
    for start in range(0, len(pixels), batch_size):
        pictures = to_model_range(pixels[start : start + batch_size], device)
        both = torch.stack([pictures, pictures.flip(3)], dim=1).flatten(0, 1)
        posterior = autoencoder.encode(both).latent_dist
        means.append(posterior.mean.float().unflatten(0, (-1, 2)).cpu())
        variance += posterior.var.float().mean(dim=(0, 2, 3)).cpu() * len(both)
        seen += len(both)
        if on_progress is not None:
            on_progress(min(start + batch_size, len(pixels)), len(pixels))
    return torch.cat(means), variance / max(1, seen)


def channel_statistics(means: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel of what sampling the posterior gives.

    Args:
        means: [N, 2, C, h, w].
        variance: Mean posterior variance per channel [C].
    """
    axes = (0, 1, 3, 4)
    mean = means.double().mean(dim=axes)
    spread = means.double().var(dim=axes, unbiased=False)
    deviation = (spread + variance.double()).sqrt().clamp_min(LEAST_DEVIATION)
    return mean.float(), deviation.float()


@torch.no_grad()
def fold_normalisation(autoencoder: AutoencoderKL, mean: Tensor, deviation: Tensor) -> None:
    """Make latents come out with zero mean and unit variance per channel.

    The two 1 x 1 convolutions around the latents take the affine map in, so that a plain
    pipeline with a scaling factor of 1 needs to know nothing of it.

    Args:
        autoencoder: Changed in place; what it gives back stays the same.
        mean: Per latent channel [C].
        deviation: Per latent channel [C].
    """
    channels = autoencoder.config.latent_channels
    if autoencoder.quant_conv is None:
        autoencoder.quant_conv = _identity(2 * channels).to(autoencoder.device)
    if autoencoder.post_quant_conv is None:
        autoencoder.post_quant_conv = _identity(channels).to(autoencoder.device)
    into, out_of = autoencoder.quant_conv, autoencoder.post_quant_conv
    mean, deviation = mean.to(into.weight), deviation.to(into.weight)
    into.weight[:channels] /= deviation.view(-1, 1, 1, 1)
    into.bias[:channels] = (into.bias[:channels] - mean) / deviation
    into.bias[channels:] -= 2.0 * deviation.log()
    out_of.bias += out_of.weight[:, :, 0, 0] @ mean
    out_of.weight *= deviation.view(1, -1, 1, 1)
    autoencoder.register_to_config(
        scaling_factor=1.0,
        shift_factor=None,
        latents_mean=None,
        latents_std=None,
        use_quant_conv=True,
        use_post_quant_conv=True,
    )


def save_latents(path: Path, latents: Tensor) -> None:
    """Write latents [N, 2, C, h, w] as float16, atomically."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        np.save(file, latents.to(torch.float16).numpy())
    partial.replace(path)


def load_latents(path: Path, device: torch.device) -> Tensor:
    """Read what `save_latents` wrote, float16 [N, 2, C, h, w]."""
    return torch.from_numpy(np.load(path)).to(device)


def _identity(channels: int) -> nn.Conv2d:
    convolution = nn.Conv2d(channels, channels, 1)
    nn.init.dirac_(convolution.weight)
    nn.init.zeros_(convolution.bias)
    return convolution
