"""Prometheus metrics of HTTP traffic, and the exposition that merges all worker processes.

Every label value comes from a fixed set: route templates, statuses, reasons. BentoML's own
series are switched off, because their `endpoint` label is the raw path, which any scanner can
make grow without bound.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psutil
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

MULTIPROCESS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
SECONDS: Final = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_PREFIX: Final = "porcelain-metrics-"


def use_private_folder() -> None:
    """Give the workers of this server a folder for their metrics that no other server has.

    BentoML's lies under its home, is shared by every server there, and is emptied when one of
    them starts. Call it before the first metric is made.
    """
    if MULTIPROCESS_FOLDER not in os.environ:
        return
    server = psutil.Process(os.getppid())  # the process above the workers
    folder = Path(tempfile.gettempdir()) / _name(server)
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != os.getuid() or folder.is_symlink():
        raise PermissionError(f"{folder} belongs to another user.")
    os.environ[MULTIPROCESS_FOLDER] = str(folder)
    _remove_abandoned(folder.parent)


def forget_dead_workers() -> None:
    """Drop the gauges of workers that have died without tidying up."""
    folder = os.environ.get(MULTIPROCESS_FOLDER)
    for file in Path(folder).glob("gauge_live*_*.db") if folder else ():
        pid = file.stem.rpartition("_")[2]
        if pid.isdigit() and not _is_alive(int(pid)):
            file.unlink(missing_ok=True)


def exposition() -> tuple[bytes, str]:
    """All workers' metrics in Prometheus' text format, and its media type."""
    if MULTIPROCESS_FOLDER not in os.environ:
        return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
    forget_dead_workers()
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST


class HttpMetrics:
    """Counts requests by route template and status."""

    def __init__(
        self, buckets: Sequence[float] = SECONDS, registry: CollectorRegistry = REGISTRY
    ) -> None:
        """Count into `registry`; `buckets` are of the seconds to an answer."""
        use_private_folder()
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
        self.in_progress = Gauge(
            "porcelain_http_requests_in_progress",
            "Requests to /v1/ that are not yet answered.",
            multiprocess_mode="livesum",
            registry=registry,
        )

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count one answer; `route` is a template, never the caller's path."""
        self._total.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)


class WorkerMetrics:
    """How many worker processes there are, so that the loss of one shows."""

    def __init__(self, expected: int, registry: CollectorRegistry = REGISTRY) -> None:
        """Say that `expected` workers should be ready."""
        use_private_folder()
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


def _name(server: psutil.Process) -> str:
    """The time of its start tells a server from an earlier one of the same process id."""
    return f"{_PREFIX}{os.getuid()}-{server.pid}-{server.create_time():.2f}"


def _remove_abandoned(folder: Path) -> None:
    """Remove the folders of servers that run no longer."""
    for found in folder.glob(f"{_PREFIX}{os.getuid()}-*-*"):
        pid = found.name.split("-")[-2]
        try:
            kept = _name(psutil.Process(int(pid))) == found.name
        except (psutil.Error, ValueError):
            kept = False
        if not kept:
            shutil.rmtree(found, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
