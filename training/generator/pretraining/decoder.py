"""The decoder alone: what it minimises once the latents are fixed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from training.generator.pretraining.adversary import Adversary
from training.generator.pretraining.autoencoder import Pixels, fidelity, to_model_range
from training.generator.pretraining.perceptual import FeatureDistance
from training.generator.pretraining.settings import AutoencoderSettings, DecoderSettings
from training.generator.pretraining.stage import batch_indices, step_generator

STAGE = 3


@dataclass(frozen=True)
class DecoderObjective:
    """Fidelity to the picture behind the latents, features, and what an opponent objects to.

    Attributes:
        autoencoder: Of which the decoder is in training.
        pixels: Training pictures, uint8 [N, H, W, 3].
        latents: Of those and their mirror images, float16 [N, 2, C, h, w].
        settings: Weights of the terms.
        first: The first stage's, for what it is held to.
        distance: Of features; None leaves that term out.
        adversary: The opponent, which learns at every step; None leaves it out.
        seed: Of order and mirroring.
    """

    autoencoder: AutoencoderKL
    pixels: Pixels
    latents: Tensor
    settings: DecoderSettings
    first: AutoencoderSettings
    distance: FeatureDistance | None
    adversary: Adversary | None
    seed: int

    def __call__(self, step: int) -> dict[str, Tensor]:
        """The weighted terms of the loss of `step`."""
        settings, device = self.settings, self.latents.device
        generator = step_generator(self.seed, STAGE, step, device)
        places = np.sort(batch_indices(len(self.pixels), settings.batch_size, step, self.seed))
        mirrored = torch.randint(0, 2, (len(places),), generator=generator, device=device)
        pictures = to_model_range(self.pixels[places], device)
        pictures = torch.where(mirrored.view(-1, 1, 1, 1) > 0, pictures.flip(3), pictures)
        latents = self.latents[torch.from_numpy(places).to(device), mirrored].float()
        output = self.autoencoder.decode(latents).sample.float()
        terms = fidelity(output, pictures, self.first)
        real: list[Tensor] = []
        decoded: list[Tensor] = []
        if self.distance is not None:
            with torch.no_grad():
                real = self.distance.maps(pictures)
            decoded = self.distance.maps(output)
            distance = self.distance.between(decoded, real).mean()
            terms["perceptual"] = settings.perceptual_weight * distance
        if self.adversary is not None:
            self.adversary.learn((pictures, real), (output, decoded))
            objection = self.adversary.objection(output, decoded)
            terms["adversarial"] = self._adversarial_weight(step) * objection
        return terms

    def _adversarial_weight(self, step: int) -> float:
        """The opponent knows nothing at first, and is listened to little by little."""
        return self.settings.adversarial_weight * min(1.0, step / self.settings.adversarial_steps)


def learns_alone(autoencoder: AutoencoderKL) -> AutoencoderKL:
    """The same autoencoder in single precision, with gradients for its decoder alone."""
    autoencoder.float().requires_grad_(False)
    for part in (autoencoder.post_quant_conv, autoencoder.decoder):
        if part is not None:
            part.requires_grad_(True)
    return autoencoder
