"""Everything that is random in a step, drawn for the whole batch from (seed, step).

Drawn on the CPU for all devices together: a run gives the same result, within rounding, on one
device or several, however the batch is divided; and a step is the same whether or not the run was
interrupted before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.generator.lora.rarity import Order
from training.generator.lora.settings import LoraSettings


@dataclass(frozen=True)
class Draw:
    """The random numbers of one step, for B pictures.

    Attributes:
        pictures: Indices [B].
        flipped: Whether each is seen as its mirror image, bool [B].
        prompted: Whether each is shown with its prompt, bool [B].
        timesteps: Noise levels [B].
        posterior: Standard normal numbers for the autoencoder's posterior [B, C, h, w].
        noise: What is added to the latents [B, C, h, w].
    """

    pictures: npt.NDArray[np.int64]
    flipped: Tensor
    prompted: Tensor
    timesteps: Tensor
    posterior: Tensor
    noise: Tensor


class Draws:
    """Draws for each step of a run."""

    def __init__(
        self, order: Order, settings: LoraSettings, shape: tuple[int, int, int], levels: int
    ) -> None:
        """Prepare to draw.

        Args:
            order: Which pictures are shown when.
            settings: Seed, batch size, shares.
            shape: Of one picture's latents.
            levels: Of the noise schedule.
        """
        self._order = order
        self._settings = settings
        self._shape = shape
        self._levels = levels

    def of(self, step: int) -> Draw:
        """The draw of a step, from 0."""
        settings, size = self._settings, self._settings.batch_size
        random = torch.Generator().manual_seed(mixed_seed(settings.seed, step))
        flipped = torch.rand(size, generator=random) < (0.5 if settings.flip else 0.0)
        prompted = torch.rand(size, generator=random) >= settings.prompt_dropout
        timesteps = torch.randint(0, self._levels, (size,), generator=random)
        posterior = torch.randn((size, *self._shape), generator=random)
        noise = torch.randn((size, *self._shape), generator=random)
        if settings.noise_offset > 0:
            # Guttenberg, Diffusion with Offset Noise, crosslabs.org, 2023.
            offset = torch.randn((size, self._shape[0], 1, 1), generator=random)
            noise += settings.noise_offset * offset
        pictures = self._order.batch(step, size)
        return Draw(pictures, flipped, prompted, timesteps, posterior, noise)


def mixed_seed(seed: int, step: int) -> int:
    """One seed per training seed and step."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> 1)
