"""The service under stress, as `porcelain serve` starts it, and its processes."""

from __future__ import annotations

import os
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.servers import Running, serving
from porcelain.cli.local_server import free_port

WORKERS = 2
START_SECONDS = 300
"""A start is not what is measured here, and slow on a machine that others use, too."""


@dataclass(frozen=True)
class Setting:
    """What a scenario works with.

    Attributes:
        bundle: Classifier bundle.
        pictures: Encoded photographs that are sent.
        folder: For whatever the scenario writes.
        seconds: How long its load lasts.
        rate: Most requests per second of a long load; None sends as many as are answered.
    """

    bundle: Path
    pictures: list[bytes]
    folder: Path
    seconds: float
    rate: float | None = None


@dataclass(frozen=True)
class Replica:
    """One running service."""

    running: Running
    port: int
    log: Path

    def workers(self) -> list[psutil.Process]:
        """The processes that answer, by age."""
        found = []
        for process in self.running.processes():
            with suppress(psutil.NoSuchProcess):
                if "_bentoml_impl.worker.service" in process.cmdline():
                    found.append(process)
        return found

    def metric(self, name: str) -> float:
        """A metric without labels, over all workers; 0 if it cannot be had."""
        with suppress(OSError):
            with urllib.request.urlopen(f"{self.running.url}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
            return sum(float(line.split()[1]) for line in lines if line.startswith(name + " "))
        return 0.0

    def ready(self) -> bool:
        """Whether `/readyz` says so."""
        with suppress(OSError), urllib.request.urlopen(f"{self.running.url}/readyz", timeout=5):
            return True
        return False

    def memory(self) -> int:
        """Bytes that the workers hold for themselves alone."""
        return sum(worker.memory_full_info().uss for worker in self.workers())

    def descriptors(self) -> int:
        """Open files and connections of the workers."""
        return sum(worker.num_fds() for worker in self.workers())


def serve_command(bundle: Path, port: int) -> list[str]:
    """The words that serve a classifier."""
    words = ["-m", "porcelain", "serve", "classifier", "--bundle", str(bundle)]
    return [sys.executable, *words, "--port", str(port), "--workers", str(WORKERS)]


@contextmanager
def replica(setting: Setting, name: str = "service", **environment: str) -> Iterator[Replica]:
    """A service for the length of the block; `environment` is added to its variables."""
    port, log = free_port(), setting.folder / f"{name}.log"
    command = serve_command(setting.bundle, port)
    variables = {**os.environ, **environment}
    with serving(command, port, "/readyz", log, variables, START_SECONDS) as running:
        yield Replica(running, port, log)
