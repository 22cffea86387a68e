"""Training inputs of each step: which pictures are shown, at which noise level, with which text.

Everything random is drawn from (seed, step), on the CPU, for all devices together: a run gives the
same result, within rounding, on one device or several, and whether or not it was interrupted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from porcelain.dataset import Record
from porcelain.vocabulary import TASKS
from training.generator.lora.encoding import LatentStore
from training.generator.lora.settings import LoraSettings
from training.loop import EpochSampler, Indices, seed_of

EMPTY_PROMPT = 0
"""Row of the empty prompt in the table of texts."""


def rarity_weights(records: Sequence[Record], power: float) -> npt.NDArray[np.float64]:
    """How often each picture is shown, as shares that add to 1.

    A label that n training pictures carry asks for the weight n ** -power, and a picture has the
    largest weight that any of its labels asks for: being rare in one task is enough. With a power
    of 1/2, a class with a hundredth of another's pictures is seen a tenth as often as that one, and
    each of its pictures ten times as often. A picture without any label has the weight of one
    whose label everything carries.

    Args:
        records: The training pictures.
        power: 0 shows all alike; 1 balances the labels of a task, if it were the only one.
    """
    weights = np.full(len(records), float(max(1, len(records))) ** -power)
    for task in TASKS:
        labels = [record.labels.get(task) for record in records]
        counts = Counter(labels)
        asked = [0.0 if label is None else counts[label] ** -power for label in labels]
        weights = np.maximum(weights, asked)
    shares: npt.NDArray[np.float64] = weights / weights.sum()
    return shares


@dataclass(frozen=True)
class StepSample:
    """The random numbers of one step, for B pictures.

    Attributes:
        pictures: Indices [B].
        flipped: Whether each is seen as its mirror image, bool [B].
        prompted: Whether each is shown with its prompt, bool [B].
        timesteps: Noise levels [B].
        posterior: Standard normal numbers for the autoencoder's posterior [B, C, h, w].
        noise: What is added to the latents [B, C, h, w].
    """

    pictures: Indices
    flipped: Tensor
    prompted: Tensor
    timesteps: Tensor
    posterior: Tensor
    noise: Tensor


class StepRandomness:
    """The source of the random numbers of every step of a run."""

    def __init__(
        self,
        sampler: EpochSampler,
        settings: LoraSettings,
        shape: tuple[int, int, int],
        levels: int,
    ) -> None:
        """Prepare to draw.

        Args:
            sampler: Which pictures are shown when.
            settings: Seed, batch size, shares.
            shape: Channels, height and width of one picture's latents.
            levels: Number of noise levels.
        """
        self._sampler = sampler
        self._settings = settings
        self._shape = shape
        self._levels = levels

    def sample(self, step: int) -> StepSample:
        """The random numbers of a step, from 0."""
        settings, size = self._settings, self._settings.batch_size
        random = torch.Generator().manual_seed(seed_of(settings.seed, step))
        flipped = torch.rand(size, generator=random) < (0.5 if settings.flip else 0.0)
        prompted = torch.rand(size, generator=random) >= settings.prompt_dropout
        timesteps = torch.randint(0, self._levels, (size,), generator=random)
        posterior = torch.randn((size, *self._shape), generator=random)
        noise = torch.randn((size, *self._shape), generator=random)
        if settings.noise_offset > 0:
            # Guttenberg, Diffusion with Offset Noise, crosslabs.org, 2023.
            offset = torch.randn((size, self._shape[0], 1, 1), generator=random)
            noise += settings.noise_offset * offset
        pictures = self._sampler.batch(step, size)
        return StepSample(pictures, flipped, prompted, timesteps, posterior, noise)


@dataclass(frozen=True)
class Batch:
    """Of B pictures: clean latents, noise [B, C, h, w], noise levels [B] and texts [B, ...]."""

    latents: Tensor
    noise: Tensor
    timesteps: Tensor
    texts: Tensor

    def split(self, pieces: int) -> list[Batch]:
        """Divide into nearly equal pieces."""
        parts = (self.latents, self.noise, self.timesteps, self.texts)
        return [Batch(*some) for some in zip(*(p.tensor_split(pieces) for p in parts), strict=True)]


@dataclass(frozen=True)
class TrainingInputs:
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
    rows: Indices
    prompts: Indices
    texts: Tensor
    shares: npt.NDArray[np.float64]
    scaling: float

    def batch(self, sample: StepSample, positions: slice, device: torch.device) -> Batch:
        """What some positions of a batch show, on the device."""
        pictures = sample.pictures[positions]
        mean, deviation = self.latents.gather(self.rows[pictures], sample.flipped[positions])
        latents = (mean + deviation * sample.posterior[positions]) * self.scaling
        prompts = torch.from_numpy(self.prompts[pictures])
        texts = self.texts[torch.where(sample.prompted[positions], prompts, EMPTY_PROMPT)]
        tensors = [latents, sample.noise[positions], sample.timesteps[positions], texts]
        if device.type == "cuda":
            tensors = [tensor.pin_memory() for tensor in tensors]
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in tensors))
