"""Which pictures a step sees and with which randomness: functions of seed, fold and step alone.

Real and added pictures come in two streams with random numbers of their own, so that the real one
is the same, picture for picture and view for view, whatever is added beside it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

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
