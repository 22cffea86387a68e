"""What the services promise: the numbers that rules and dashboards hold them to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from monitoring.registries import Kind


@dataclass(frozen=True, slots=True)
class Objectives:
    """One service's objectives.

    Attributes:
        kind: Which service.
        route: The route that the latency objective is about.
        available: Share of requests to `/v1/` that are not answered 5xx.
        fast: Share of answers of `route` within `seconds`.
        seconds: A bucket's bound of the request duration.
        startup: Longest that a pod may take until all its workers are ready, in seconds.
        in_flight: Requests in progress per ready worker that are too many for long.
    """

    kind: Kind
    route: str
    available: float
    fast: float
    seconds: float
    startup: int
    in_flight: int

    @property
    def job(self) -> str:
        """Prometheus' `job` label of the service."""
        return f"porcelain-{self.kind}"


CLASSIFIER: Final = Objectives(
    kind="classifier",
    route="/v1/classify",
    available=0.995,
    fast=0.99,
    seconds=0.5,
    startup=120,
    in_flight=8,
)
GENERATOR: Final = Objectives(
    kind="generator",
    route="/v1/generate",
    available=0.995,
    fast=0.95,
    seconds=60.0,
    startup=900,
    in_flight=32,
)
SERVICES: Final = (CLASSIFIER, GENERATOR)

REFUSED_SHARE: Final = 0.01
"""Answers 429 of all: above it the service is too small."""

BAD_INPUT_SHARE: Final = 0.5
"""Pictures or requests refused for what they are, of all: above it somebody sends rubbish."""

ABSTAINED_SHARE: Final = 0.5
"""Answers "not sure", of all of a task's."""

DRIFT: Final = 0.25
"""Population stability index above which a distribution counts as another one; see Siddiqi,
Credit Risk Scorecards (2006): under 0.1 little, above 0.25 significant."""

ENOUGH: Final = 300
"""Predictions under which shares of labels say nothing."""

QUEUE_SECONDS: Final = 30
"""Longest that nine in ten pictures should wait for their batch."""
