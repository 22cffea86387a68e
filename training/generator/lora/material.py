"""What a step learns from: latents, texts and noise of its share of the batch, on the device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.generator.lora.draws import Draw
from training.generator.lora.latents import LatentStore

EMPTY_PROMPT = 0
"""Row of the empty prompt in the table of texts."""


@dataclass(frozen=True)
class Inputs:
    """Of B pictures: clean latents, noise [B, C, h, w], noise levels [B] and texts [B, ...]."""

    latents: Tensor
    noise: Tensor
    timesteps: Tensor
    texts: Tensor

    def split(self, pieces: int) -> list[Inputs]:
        """Divide into nearly equal pieces."""
        parts = (self.latents, self.noise, self.timesteps, self.texts)
        return [
            Inputs(*some) for some in zip(*(p.tensor_split(pieces) for p in parts), strict=True)
        ]


@dataclass(frozen=True)
class Material:
    """The training pictures as the model is given them.

    Attributes:
        latents: Of every picture.
        rows: Where each of the N pictures that can be used stands in `latents`.
        prompts: Where each one's prompt stands in `texts` [N].
        texts: Embeddings [P, tokens, width], or token ids [P, tokens] where the text encoder
            learns; the first is the empty prompt's.
        shares: How often each picture is shown [N].
        scaling: What latents are multiplied by for the UNet.
    """

    latents: LatentStore
    rows: npt.NDArray[np.int64]
    prompts: npt.NDArray[np.int64]
    texts: Tensor
    shares: npt.NDArray[np.float64]
    scaling: float

    def inputs(self, draw: Draw, positions: slice, device: torch.device) -> Inputs:
        """The inputs of some positions of a batch."""
        pictures = draw.pictures[positions]
        mean, deviation = self.latents.gather(self.rows[pictures], draw.flipped[positions])
        latents = (mean + deviation * draw.posterior[positions]) * self.scaling
        prompts = torch.from_numpy(self.prompts[pictures])
        texts = self.texts[torch.where(draw.prompted[positions], prompts, EMPTY_PROMPT)]
        tensors = [latents, draw.noise[positions], draw.timesteps[positions], texts]
        if device.type == "cuda":
            tensors = [tensor.pin_memory() for tensor in tensors]
        return Inputs(*(tensor.to(device, non_blocking=True) for tensor in tensors))
