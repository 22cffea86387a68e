"""What people see while pretraining goes on, at a terminal or in a log file."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from porcelain.cli.console import Stages, console
from training.generator.pretraining.stage import StageProgress
from training.generator.pretraining.workshop import Reporter

LOG_SECONDS = 60.0
"""Between lines where no bar can move."""


@dataclass
class Presentation:
    """Bars at a terminal; a line a minute elsewhere."""

    stages: Stages
    _last: float = field(default=float("-inf"))

    def reporter(self) -> Reporter:
        """The hooks of a run."""
        return Reporter(self.stages.say, self._preparing, self._step)

    def _preparing(self, what: str, done: int, total: int) -> None:
        self.stages.report(what.capitalize(), done, total)

    def _step(self, progress: StageProgress) -> None:
        rate = progress.pictures_per_second
        note = f"loss {progress.loss:.4f}  {rate:.1f} pictures/s"
        if console().is_terminal:
            self.stages.report(f"Training {progress.stage}", progress.step, progress.total, note)
        elif time.monotonic() - self._last > LOG_SECONDS:
            self._last = time.monotonic()
            remaining = (progress.total - progress.step) * progress.batch_size / max(rate, 1e-9)
            self.stages.say(
                f"{time.strftime('%H:%M:%S')} {progress.stage}: step {progress.step} of "
                f"{progress.total}, {note}, {remaining / 3600:.2f} h left"
            )
