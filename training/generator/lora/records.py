"""What a run tells: to the one who waits for it, and of every step to those who come later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Reporter:
    """What a caller hears while training goes on. Every hook may be left out.

    Attributes:
        message: One line for people.
        encoding: Pictures encoded, and pictures in all.
        step: Steps done, steps in all, and the mean loss since the last call.
        preview: The file of a new sample grid.
    """

    message: Callable[[str], None] = lambda text: None
    encoding: Callable[[int, int], None] = lambda done, total: None
    step: Callable[[int, int, float], None] = lambda done, total, loss: None
    preview: Callable[[Path], None] = lambda file: None


@dataclass
class History:
    """Every optimiser step so far.

    Attributes:
        losses: Mean loss over the batch.
        norms: Norm of the gradient before it was clipped.
    """

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)

    def recent_loss(self, count: int) -> float:
        """Mean loss of the last `count` steps; not a number without any."""
        last = self.losses[-count:]
        return sum(last) / len(last) if last else float("nan")
