"""Prometheus metrics of HTTP traffic, and the exposition that merges all worker processes.

Every label value comes from a fixed set: route templates, statuses, reasons. BentoML's own
series are switched off, because their `endpoint` label is the raw path, which any scanner can
make grow without bound.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

from services.problems import FULL, RATE_LIMIT
from services.readiness import is_alive

MULTIPROCESS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


def shared_folder() -> Path | None:
    """Where the workers keep what they share; None outside a server."""
    folder = os.environ.get(MULTIPROCESS_FOLDER)
    return Path(folder) if folder else None


def forget_dead_workers() -> None:
    """Drop the gauges of workers that have died without tidying up."""
    folder = shared_folder()
    if folder is None:
        return
    for file in folder.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdigit() and not is_alive(int(pid)):
            file.unlink(missing_ok=True)


class HttpMetrics:
    """Counts requests by route template and status."""

    def __init__(
        self, buckets: Sequence[float] = SECONDS, registry: CollectorRegistry = REGISTRY
    ) -> None:
        """Count into `registry`; `buckets` are of the seconds to an answer."""
        forget_dead_workers()
        self._total = Counter(
            "porcelain_http_requests",
            "Requests answered, by route template and status.",
            ["route", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "porcelain_http_request_duration_seconds",
            "Seconds from a request's headers to its answer.",
            ["route"],
            buckets=buckets,
            registry=registry,
        )
        self._refusals = Counter(
            "porcelain_refusals",
            "Answers 429 by reason: full, the service is; rate_limit, the caller has asked for "
            "more than it may.",
            ["reason"],
            registry=registry,
        )
        for reason in (FULL, RATE_LIMIT):
            self._refusals.labels(reason)
        self.in_progress = Gauge(
            "porcelain_http_requests_in_progress",
            "Requests admitted and not yet answered.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._counters: dict[tuple[str, int], Counter] = {}
        self._timers: dict[str, Histogram] = {}

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count one answer; `route` is a template, never the caller's path."""
        counter = self._counters.get((route, status))
        if counter is None:
            counter = self._counters[route, status] = self._total.labels(route, str(status))
        counter.inc()
        timer = self._timers.get(route)
        if timer is None:
            timer = self._timers[route] = self._seconds.labels(route)
        timer.observe(seconds)

    def refused(self, reason: str) -> None:
        """Count one answer 429; `reason` is the problem's."""
        self._refusals.labels(reason).inc()


class WorkerMetrics:
    """How many worker processes there are, so that the loss of one shows."""

    def __init__(self, expected: int, registry: CollectorRegistry = REGISTRY) -> None:
        """Say that `expected` workers should be ready."""
        Gauge(
            "porcelain_workers_expected",
            "Worker processes that the settings ask for.",
            multiprocess_mode="max",
            registry=registry,
        ).set(expected)
        self._ready = Gauge(
            "porcelain_workers_ready",
            "Worker processes that live and have warmed up.",
            multiprocess_mode="livesum",
            registry=registry,
        )

    def ready(self) -> None:
        """Count this worker as ready for as long as it lives."""
        self._ready.set(1)


def exposition() -> tuple[bytes, str]:
    """All workers' metrics in Prometheus' text format, and its media type."""
    if shared_folder() is None:
        return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
    forget_dead_workers()
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST
