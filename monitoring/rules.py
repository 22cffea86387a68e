"""Prometheus' recording and alert rules, made from the objectives."""

from __future__ import annotations

from typing import Any, Final

from monitoring.budgets import burning, ratios
from monitoring.drift import predictions
from monitoring.operation import health, saturation
from monitoring.ruling import Clock

EVALUATION_SECONDS: Final = 30


def rule_groups(speed: float = 1.0) -> dict[str, Any]:
    """The content of a rule file; `speed` makes every duration so many times shorter."""
    clock = Clock(speed)
    interval = clock.span(EVALUATION_SECONDS)
    groups = {
        "porcelain-objectives": [*ratios(clock), *burning()],
        "porcelain-health": [*health(clock)],
        "porcelain-saturation": [*saturation(clock)],
        "porcelain-predictions": [*predictions(clock)],
    }
    return {
        "groups": [
            {"name": name, "interval": interval, "rules": rules} for name, rules in groups.items()
        ]
    }
