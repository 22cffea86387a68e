"""Options of `porcelain experiment run` read, and its result written, as text."""

from __future__ import annotations

import json
from pathlib import Path

from porcelain.errors import UserError
from training.experiment.preparation import Prepared
from training.experiment.runner import Outcome


def parse_ratios(text: str | None) -> tuple[float, ...] | None:
    """Read `0,5,10`; None stays None.

    Raises:
        UserError: Not numbers.
    """
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UserError(f"--ratios {text!r} must be percentages, such as 0,5,10.") from error


def parse_names(text: str | None) -> list[str] | None:
    """Read `real,mix,routed`; None stays None.

    Raises:
        UserError: One is empty.
    """
    if text is None:
        return None
    names = [part.strip() for part in text.split(",")]
    if not all(names):
        raise UserError(f"--arms {text!r} must be names with commas between, such as real,mix.")
    return names


def summary(root: Path, prepared: Prepared, outcome: Outcome) -> str:
    """The result for programs."""
    return json.dumps(
        {
            "experiment": str(root),
            "arms": [arm.name for arm in prepared.arms],
            "seeds": list(prepared.seeds),
            "folds": prepared.experiment.folds,
            "photographs": len(prepared.experiment.pictures),
            "tested": sum(picture.tested for picture in prepared.experiment.pictures),
            "units": outcome.done,
            "trained": outcome.trained,
            "seconds": round(outcome.seconds, 1),
            "notes": prepared.experiment.notes,
        },
        indent=2,
    )
