"""The training that all arms share: a stream of real pictures, and one of added pictures beside it.

Initial weights, order and views of the real pictures, dropout, rates and the number of steps follow
from seed, fold and the real pictures alone; an arm differs in what its second stream holds. Each
stream has random numbers of its own, functions of seed, fold and step, so that the real one is the
same, picture for picture and view for view, whatever is added beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.classifier.augmentation import augment
from training.classifier.losses import MultiTaskLoss, log_priors
from training.classifier.model import MultiTaskClassifier
from training.classifier.optimisation import WeightAverage, build_optimizer, set_rates
from training.classifier.prediction import predict
from training.classifier.settings import TrainSettings

Rows = npt.NDArray[np.int64]


class Purpose(IntEnum):
    """What random numbers are for; each purpose has its own."""

    WEIGHTS = 0
    REAL_ORDER = 1
    REAL_VIEWS = 2
    ADDED_ORDER = 3
    ADDED_VIEWS = 4
    CHOICE = 5
    COPIES = 6


@dataclass(frozen=True)
class Randomness:
    """The random numbers of one seed and fold, shared by all arms."""

    seed: int
    fold: int

    def number(self, purpose: Purpose, *place: int) -> int:
        """A seed for one purpose at one place, 0 to 2⁶³ - 1."""
        state = np.random.SeedSequence([self.seed, self.fold, purpose, *place])
        return int(state.generate_state(1, np.uint64)[0] >> 1)


@dataclass(frozen=True)
class Schedule:
    """How many steps there are, and what each sees.

    Attributes:
        real: Real training pictures.
        added: Added pictures.
        batch_size: Real pictures per step; fewer where there are not so many.
        epochs: Passes over the real pictures.
        first: Share of the steps that see added pictures alone.
        randomness: Of the order.
    """

    real: int
    added: int
    batch_size: int
    epochs: int
    randomness: Randomness
    first: float = 0.0

    @property
    def batch(self) -> int:
        """Real pictures per step."""
        return min(self.batch_size, self.real)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which the real pictures pass once, without an unfilled last batch."""
        return self.real // self.batch

    @property
    def steps(self) -> int:
        """Steps in all: the same for every arm, because they follow from the real pictures."""
        return self.epochs * self.steps_per_epoch

    @property
    def first_steps(self) -> int:
        """Steps that see added pictures alone, before any that sees real ones."""
        return round(self.first * self.steps) if self.added else 0

    def real_rows(self, step: int) -> Rows:
        """The real pictures of a step, as positions in the training part."""
        if step < self.first_steps:
            return np.zeros(0, dtype=np.int64)
        epoch, index = divmod(step, self.steps_per_epoch)
        order = self._order(Purpose.REAL_ORDER, epoch, self.real)
        return order[index * self.batch : (index + 1) * self.batch]

    def added_rows(self, step: int) -> Rows:
        """The added pictures of a step: each is seen as often as a real one."""
        if self.first_steps:
            start, end = step * self.batch, (step + 1) * self.batch
            return self._sequence(start, end if step < self.first_steps else start)
        share = self.added * self.batch
        return self._sequence(step * share // self.real, (step + 1) * share // self.real)

    def digest(self) -> str:
        """SHA-256 of the real pictures' order."""
        lines = [self.real_rows(step).tobytes() for step in range(self.steps)]
        return hashlib.sha256(b"/".join(lines)).hexdigest()

    def _sequence(self, start: int, end: int) -> Rows:
        """Places of an endless row of passes over the added pictures, each in its own order."""
        places = np.arange(start, end, dtype=np.int64)
        rows = np.empty_like(places)
        for number in np.unique(places // max(1, self.added)):
            mine = places // self.added == number
            order = self._order(Purpose.ADDED_ORDER, int(number), self.added)
            rows[mine] = order[places[mine] % self.added]
        return rows

    def _order(self, purpose: Purpose, number: int, count: int) -> Rows:
        rng = np.random.default_rng(self.randomness.number(purpose, number))
        return rng.permutation(count).astype(np.int64)


@dataclass(frozen=True)
class Pool:
    """Pictures to draw from.

    Attributes:
        pixels: uint8 [N, size, size, 3].
        rows: Which of them are drawn from, [M].
        labels: Class indices of those [M, tasks]; -1 counts for nothing.
        weight: What a picture's loss counts.
    """

    pixels: npt.NDArray[np.uint8]
    rows: Rows
    labels: Tensor
    weight: float = 1.0

    def take(self, positions: Rows, device: torch.device) -> tuple[Tensor, Tensor]:
        """Pixels [B, size, size, 3] and labels [B, tasks] on the device."""
        pixels = torch.from_numpy(self.pixels[self.rows[positions]])
        return pixels.to(device), self.labels[torch.from_numpy(positions)].to(device)


class PairedTrainer:
    """Trains one arm.

    Attributes:
        model: After `train` it carries the averaged weights.
    """

    def __init__(
        self,
        model: MultiTaskClassifier,
        settings: TrainSettings,
        schedule: Schedule,
        real: Pool,
        added: Pool,
        *,
        device: torch.device,
        frozen_blocks: int = 0,
    ) -> None:
        """Set up.

        Args:
            model: With the initial weights.
            settings: How to train.
            schedule: What each step sees.
            real: Real training pictures at `settings.cached_size`.
            added: Added ones, likewise; may be empty.
            device: Where to train.
            frozen_blocks: First stages of the backbone that keep their weights.
        """
        self._settings = settings
        self._schedule = schedule
        self._real, self._added = real, added
        self._device = device
        self.model = model.to(device, memory_format=torch.channels_last)
        self._fixed = _freeze(model, frozen_blocks)
        mean, std = model.normalisation()
        self._mean = mean.view(1, 3, 1, 1).to(device)
        self._std = std.view(1, 3, 1, 1).to(device)
        counts = self._counts()
        self._priors = {task: log_priors(count) for task, count in counts.items()}
        self._loss = MultiTaskLoss(counts, settings.loss, settings.label_smoothing).to(device)
        self._optimizer = build_optimizer(model, settings)
        self._average = WeightAverage(model, settings.averaging)
        self._generator = torch.Generator(device)

    def train(self, on_step: Callable[[int, int], None] | None = None) -> None:
        """Take every step; the model then has its averaged weights.

        Args:
            on_step: Called with steps done and in all.
        """
        for step in range(self._schedule.steps):
            self._take(step)
            if on_step is not None:
                on_step(step + 1, self._schedule.steps)
        self.model.load_state_dict(self._average.state)
        for task, head in zip(self.model.tasks, self.model.heads, strict=True):
            correction = self._settings.prior_correction * self._priors[task]
            head.bias.data -= correction.to(self._device)

    def predict(
        self, pixels: npt.NDArray[np.uint8], rows: Rows
    ) -> dict[str, npt.NDArray[np.float64]]:
        """Logits per task [N, classes] of the rows [N] of pictures at the input size."""
        return predict(self.model, pixels, self._device, rows)

    def _take(self, step: int) -> None:
        schedule, settings = self._schedule, self._settings
        set_rates(self._optimizer, settings, step, schedule.steps_per_epoch)
        resting = step < settings.frozen_epochs * schedule.steps_per_epoch
        self._set_modes(resting)
        streams = [
            self._stream(self._real, schedule.real_rows(step), Purpose.REAL_VIEWS, step),
            self._stream(self._added, schedule.added_rows(step), Purpose.ADDED_VIEWS, step),
        ]
        streams = [stream for stream in streams if len(stream.labels)]
        images = torch.cat([stream.images for stream in streams])
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.set_grad_enabled(not resting):
            features = self.model.features(self.model.feature_map(images))
        kept = self._dropout(streams, features.shape[1])
        logits = self.model.classify(features * kept)
        labels = torch.cat([stream.labels for stream in streams])
        loss = self._loss(logits, labels, torch.cat([stream.weights for stream in streams]))
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(self.model.parameters()), settings.gradient_norm)
        self._optimizer.step()
        self._average.update(self.model)

    def _stream(self, pool: Pool, positions: Rows, purpose: Purpose, step: int) -> _Stream:
        """Views of the pictures of one stream, by random numbers of its own."""
        seed = self._schedule.randomness.number(purpose, step)
        pixels, labels = pool.take(positions, self._device)
        if len(labels) == 0:
            return _Stream(torch.empty(0), labels, torch.empty(0), seed)
        self._generator.manual_seed(seed)
        size, how = self._settings.input_size, self._settings.augmentation
        images = augment(pixels, size, how, self._generator).sub_(self._mean).div_(self._std)
        weights = torch.full((len(labels),), pool.weight, device=self._device)
        return _Stream(images, labels, weights, seed)

    def _dropout(self, streams: list[_Stream], width: int) -> Tensor:
        """What dropout leaves of the features [B, width], drawn for each stream by itself."""
        share = self._settings.dropout
        masks = []
        for stream in streams:
            self._generator.manual_seed(stream.seed + 1)
            draw = torch.rand(
                len(stream.labels), width, generator=self._generator, device=self._device
            )
            masks.append((draw >= share).float() / (1.0 - share))
        return torch.cat(masks)

    def _set_modes(self, resting: bool) -> None:
        self.model.train()
        # Batch statistics of what does not learn must not move either.
        if resting:
            self.model.backbone.eval()
        for part in self._fixed:
            part.eval()

    def _counts(self) -> dict[str, Tensor]:
        """Pictures per class that the heads learn from, added ones by their weight."""
        last = [self._real] if self._schedule.first_steps else [self._real, self._added]
        counts = {}
        for column, (task, head) in enumerate(zip(self.model.tasks, self.model.heads, strict=True)):
            count = torch.zeros(head.out_features)
            for pool in last:
                labels = pool.labels[:, column]
                known = labels[labels >= 0]
                count += pool.weight * torch.bincount(known, minlength=head.out_features)
            counts[task] = count
        return counts


@dataclass(frozen=True)
class _Stream:
    """One stream's share of a step: normalised views, labels, weights, and what it was drawn by."""

    images: Tensor
    labels: Tensor
    weights: Tensor
    seed: int


def _freeze(model: MultiTaskClassifier, blocks: int) -> list[torch.nn.Module]:
    """Fix the stem and the first stages; a backbone without stages in timm's layout learns all."""
    stages = getattr(model.backbone, "blocks", None)
    if blocks == 0 or stages is None:
        return []
    names = ("conv_stem", "bn1")
    stem = [
        part
        for name in names
        if isinstance(part := getattr(model.backbone, name, None), torch.nn.Module)
    ]
    fixed = [*stem, *list(stages)[:blocks]]
    for part in fixed:
        part.requires_grad_(False)
    return fixed
