"""Warm-up, constant rate, fall: a schedule that may end whenever it is told to."""

from __future__ import annotations

import math
from dataclasses import dataclass

from training.generator.pretraining.settings import StageSettings


@dataclass
class Schedule:
    """The rate of every step; the only thing that it remembers is where the fall began.

    Attributes:
        settings: Steps, hours, rate, warm-up and share of the fall.
        fall_from: The step at which the fall began; None before.
    """

    settings: StageSettings
    fall_from: int | None = None

    def rate(self, step: int, seconds: float) -> float:
        """The learning rate of `step`.

        Args:
            step: From 0, one after the other.
            seconds: Spent on training so far, over all runs.
        """
        settings = self.settings
        if self.fall_from is None and self._must_fall(step, seconds):
            self.fall_from = step
        rise = min(1.0, (step + 1) / max(1, settings.warmup_steps))
        if self.fall_from is None:
            return settings.learning_rate * rise
        done = (step - self.fall_from) / self.fall_steps(self.fall_from)
        # One minus the square root falls fast at first (Hägele et al., arXiv 2405.18392).
        return settings.learning_rate * rise * max(0.0, 1.0 - math.sqrt(done))

    def fall_steps(self, start: int) -> int:
        """How long a fall is that begins at `start`, so that it has its share of all steps."""
        fall = self.settings.fall
        return max(1, round(start * fall / (1.0 - fall)))

    def last_step(self, step: int, seconds: float) -> int:
        """The number of steps in all, as far as it can be told at `step`."""
        if self.fall_from is not None:
            return self.fall_from + self.fall_steps(self.fall_from)
        if self.settings.hours is not None and step > 0 and seconds > 0:
            by_time = round(step * self.settings.hours * 3600 / seconds)
            return min(self.settings.steps, max(step + 1, by_time))
        return self.settings.steps

    def is_over(self, step: int) -> bool:
        """Whether no step is left."""
        if self.settings.steps == 0:
            return True
        return self.fall_from is not None and step >= self.fall_from + self.fall_steps(
            self.fall_from
        )

    def _must_fall(self, step: int, seconds: float) -> bool:
        settings = self.settings
        if step >= round(settings.steps * (1.0 - settings.fall)):
            return True
        if settings.hours is None or step == 0:
            return False
        remaining = self.fall_steps(step) * seconds / step
        return seconds + remaining >= settings.hours * 3600
