"""Starting the servers that are compared, and looking at their processes."""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Running:
    """A server that answers.

    Attributes:
        url: Its address, without a path.
        seconds: From the start of its process to its first ready answer.
        pid: Its first process.
        pids: The first processes of its other parts, where it has such.
    """

    url: str
    seconds: float
    pid: int
    pids: tuple[int, ...] = ()

    def processes(self) -> list[psutil.Process]:
        """The server and all processes below it."""
        parents = [psutil.Process(pid) for pid in (self.pid, *self.pids)]
        return [one for p in parents for one in (p, *p.children(recursive=True))]

    def cpu_seconds(self) -> float:
        """Processor time that the server has used so far."""
        return sum(sum(process.cpu_times()[:2]) for process in self.processes())

    def worker_memory(self) -> list[int]:
        """Resident bytes of each process that has ONNX Runtime mapped."""
        return [p.memory_info().rss for p in self.processes() if maps(p, "onnxruntime")]


def maps(process: psutil.Process, library: str) -> bool:
    """Whether a process has a file with `library` in its path mapped (Linux)."""
    try:
        return library in Path(f"/proc/{process.pid}/maps").read_text()
    except OSError:
        return False


@contextmanager
def serving(
    command: list[str],
    port: int,
    ready_path: str,
    log: Path,
    environment: Mapping[str, str] | None = None,
    patience: float = 60,
) -> Iterator[Running]:
    """Run a server for the length of the block.

    Raises:
        RuntimeError: It ended, or was not ready within `patience` seconds.
    """
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        begun = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        try:
            while not _answers(url + ready_path):
                if process.poll() is not None or time.perf_counter() - begun > patience:
                    raise RuntimeError(f"{command[0]} is not ready: {log.read_text()[-2000:]}")
                time.sleep(0.02)
            yield Running(url, time.perf_counter() - begun, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
