"""What the model is asked for at each noise level, and how much each level counts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from torch import Tensor

from porcelain.errors import UserError

PREDICTIONS = ("epsilon", "v_prediction")


class Objective:
    """Noisy latents, target and loss of Stable Diffusion 1.x (epsilon) and 2.x (velocity).

    Attributes:
        levels: Number of noise levels.
    """

    def __init__(self, scheduler: DDPMScheduler, snr_gamma: float | None) -> None:
        """Train on the noise schedule of `scheduler`.

        Args:
            scheduler: Made from the base's configuration.
            snr_gamma: See `min_snr_weights`; None weighs all levels alike.

        Raises:
            UserError: The base predicts something else.
        """
        self._prediction = str(scheduler.config.prediction_type)
        if self._prediction not in PREDICTIONS:
            raise UserError(
                f"The base predicts {self._prediction!r}; only {' and '.join(PREDICTIONS)} models "
                "can be fine-tuned."
            )
        self._scheduler = scheduler
        self.levels = int(scheduler.config.num_train_timesteps)
        self._weights = torch.ones(self.levels)
        if snr_gamma is not None:
            self._weights = min_snr_weights(
                scheduler.alphas_cumprod, snr_gamma, velocity=self._prediction == "v_prediction"
            )

    def noisy(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Latents [B, C, h, w] with as much noise as their level asks for."""
        noisy: Tensor = self._scheduler.add_noise(latents, noise, timesteps)
        return noisy

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What the model should answer: [B, C, h, w]."""
        if self._prediction == "epsilon":
            return noise
        velocity: Tensor = self._scheduler.get_velocity(latents, noise, timesteps)
        return velocity

    def losses(self, answer: Tensor, target: Tensor, timesteps: Tensor) -> Tensor:
        """Weighted mean squared error per picture, in float32: [B]."""
        squared = F.mse_loss(answer.float(), target.float(), reduction="none")
        return squared.flatten(1).mean(1) * self._weights.to(answer.device)[timesteps]


def min_snr_weights(alphas_cumprod: Tensor, gamma: float, *, velocity: bool) -> Tensor:
    """Weight of each noise level's squared error: min(SNR, gamma), as a share of the target's.

    Levels with little noise are easy and pull the weights their own way; bounding what they count
    converges faster. For a model that predicts the noise the weight is min(SNR, gamma) / SNR, for
    one that predicts velocity min(SNR, gamma) / (SNR + 1) (Hang et al., arXiv 2303.09556,
    sections 3.4 and 4.2).

    Args:
        alphas_cumprod: Share of signal in each level's variance [T].
        gamma: The bound.
        velocity: Whether the model predicts velocity.
    """
    signal, noise = alphas_cumprod.double(), 1 - alphas_cumprod.double()
    # Multiplied out by the noise's share, so that a level of pure noise divides nothing by zero.
    bounded = torch.minimum(signal, gamma * noise)
    weights = (
        bounded if velocity else torch.where(signal > 0, bounded / signal.clamp_min(1e-30), 1.0)
    )
    return weights.float()
