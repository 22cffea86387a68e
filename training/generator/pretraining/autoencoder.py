"""The first stage: what the autoencoder minimises, and how well it gives pictures back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

from training.generator.pretraining.perceptual import FeatureDistance
from training.generator.pretraining.settings import AutoencoderSettings
from training.generator.pretraining.stage import batch_indices, step_generator
from training.generator.pretraining.structure import structural_similarity, structure_loss

STAGE = 1
Pixels = npt.NDArray[np.uint8]


def to_model_range(pixels: Pixels, device: torch.device) -> Tensor:
    """Pictures uint8 [B, H, W, 3] as float [B, 3, H, W] in [-1, 1]."""
    batch = torch.from_numpy(np.array(pixels)).to(device)
    return batch.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1.0).contiguous()


@dataclass(frozen=True)
class AutoencoderObjective:
    """Absolute error, colour, lost structure, features, a little divergence, coarse decoding.

    Attributes:
        autoencoder: In training.
        pixels: Training pictures, uint8 [N, H, W, 3].
        settings: Weights of the terms.
        distance: Of features; None leaves that term out.
        seed: Of order, mirroring and posterior noise.
    """

    autoencoder: AutoencoderKL
    pixels: Pixels
    settings: AutoencoderSettings
    distance: FeatureDistance | None
    seed: int

    def __call__(self, step: int) -> dict[str, Tensor]:
        """The weighted terms of the loss of `step`."""
        settings = self.settings
        device = next(self.autoencoder.parameters()).device
        generator = step_generator(self.seed, STAGE, step, device)
        pictures = self._pictures(step, device)
        mirrored = torch.rand(len(pictures), 1, 1, 1, generator=generator, device=device) < 0.5
        pictures = torch.where(mirrored, pictures.flip(3), pictures)
        posterior = self.autoencoder.encode(pictures).latent_dist
        mean, log_variance = posterior.mean.float(), posterior.logvar.float()
        noise = torch.randn(mean.shape, generator=generator, device=device)
        latents = mean + torch.exp(0.5 * log_variance) * noise
        terms = self._fidelity(latents, pictures)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).mean()
        terms["divergence"] = settings.divergence_weight * divergence
        if settings.coarse_weight > 0:
            half = (len(pictures) + 1) // 2
            coarse = self._fidelity(F.avg_pool2d(latents[:half], 2), _halved(pictures[:half]))
            terms["coarse"] = settings.coarse_weight * torch.stack(list(coarse.values())).sum()
        return terms

    def _pictures(self, step: int, device: torch.device) -> Tensor:
        """A batch of `step`: small pictures first, then whole ones."""
        size, small = self.settings.batch_size, step < self.settings.half_size_steps
        indices = batch_indices(len(self.pixels), 4 * size if small else size, step, self.seed)
        pictures = to_model_range(self.pixels[np.sort(indices)], device)
        return _halved(pictures) if small else pictures

    def _fidelity(self, latents: Tensor, pictures: Tensor) -> dict[str, Tensor]:
        output = self.autoencoder.decode(latents).sample.float()
        terms = fidelity(output, pictures, self.settings)
        if self.distance is not None:
            distance = self.distance(output, pictures).mean()
            terms["perceptual"] = self.settings.perceptual_weight * distance
        return terms


def fidelity(output: Tensor, pictures: Tensor, settings: AutoencoderSettings) -> dict[str, Tensor]:
    """The weighted terms that need no trained weights: absolute error, colour, structure.

    Args:
        output: What the decoder gives back, [B, 3, H, W] in [-1, 1].
        pictures: What it should.
        settings: Weights of the terms.
    """
    error = output - pictures
    colour = error - error.mean(dim=1, keepdim=True)
    return {
        "absolute": error.abs().mean(),
        "colour": settings.colour_weight * colour.abs().mean(),
        "structure": settings.structure_weight * structure_loss(output, pictures),
    }


@torch.inference_mode()
def reconstruct(autoencoder: AutoencoderKL, pixels: Pixels, batch_size: int = 16) -> Tensor:
    """Pictures through the autoencoder and back, float [N, 3, H, W] in [-1, 1] on the CPU."""
    device = next(autoencoder.parameters()).device
    parts = []
    for start in range(0, len(pixels), batch_size):
        pictures = to_model_range(pixels[start : start + batch_size], device)
        latents = autoencoder.encode(pictures).latent_dist.mode()
        parts.append(autoencoder.decode(latents).sample.float().clamp(-1, 1).cpu())
    return torch.cat(parts)


def to_bytes(pictures: Tensor) -> Pixels:
    """Float [N, 3, H, W] in [-1, 1] to uint8 [N, H, W, 3]."""
    return pictures.add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


@torch.inference_mode()
def measure_reconstruction(
    autoencoder: AutoencoderKL, pixels: Pixels, distance: FeatureDistance | None
) -> dict[str, float]:
    """How well pictures survive the autoencoder.

    Args:
        autoencoder: In evaluation mode.
        pixels: Pictures that it did not learn from, uint8 [N, H, W, 3].
        distance: Of features; None leaves that measure out.

    Returns:
        `psnr` in dB (mean over pictures) and its 10th percentile, `ssim`, and `perceptual`.
    """
    output = reconstruct(autoencoder, pixels)
    target = to_model_range(pixels, torch.device("cpu"))
    error = (output - target).square().mean(dim=(1, 2, 3)).clamp_min(1e-10) / 4.0
    psnr = -10.0 * torch.log10(error)
    measures = {
        "pictures": float(len(pixels)),
        "psnr": float(psnr.mean()),
        "psnr_10th_percentile": float(psnr.quantile(0.1)),
        "ssim": float(structural_similarity(output, target).mean()),
    }
    if distance is not None:
        distance = distance.to("cpu")
        parts = [
            distance(output[i : i + 32], target[i : i + 32]) for i in range(0, len(output), 32)
        ]
        measures["perceptual"] = float(torch.cat(parts).mean())
    return measures


def _halved(pictures: Tensor) -> Tensor:
    return F.avg_pool2d(pictures, 2)
