"""Training inputs of each step: which pictures are shown, at which noise, with which text."""

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

Indices = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float64]


def rarity_weights(records: Sequence[Record], power: float) -> Weights:
    """How often each picture is shown, as shares that add to 1.

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
    shares: Weights = weights / weights.sum()
    return shares


class Order:
    """Which pictures make up each batch: a function of the shares, the seed and the step."""

    def __init__(self, shares: Weights, seed: int) -> None:
        """Order pictures that are to be shown by their `shares`."""
        self._expected = shares * len(shares)
        self._seed = seed
        self._epochs: dict[int, Indices] = {}

    def batch(self, step: int, size: int) -> Indices:
        """Indices [size] of the batch of a step, from 0; it may reach over an epoch's end."""
        count = len(self._expected)
        first, last = step * size, (step + 1) * size
        epochs = range(first // count, (last - 1) // count + 1)
        # Steps are asked for in order: earlier epochs do not come back.
        self._epochs = {e: self._epochs[e] if e in self._epochs else self._epoch(e) for e in epochs}
        row = np.concatenate([self._epochs[epoch] for epoch in epochs])
        return row[first - epochs[0] * count : last - epochs[0] * count]

    def _epoch(self, epoch: int) -> Indices:
        random = np.random.default_rng([self._seed, epoch])
        count = len(self._expected)
        # Shuffled first: neighbours share the rounding.
        shuffled = random.permutation(count)
        ends = np.round(np.cumsum(self._expected[shuffled]), 9)  # whole where sums of floats miss
        ends[-1] = count
        marks = np.floor(ends + random.random()).astype(np.int64)
        times = np.diff(marks, prepend=0)
        order: Indices = random.permutation(np.repeat(shuffled, times))
        return order


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
