"""A service started for a while on this machine, as `porcelain serve` starts it."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from porcelain.cli.console import console
from porcelain.errors import PorcelainError

READY_SECONDS = 90.0


def free_port() -> int:
    """A TCP port on the loopback address that nothing listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


@contextmanager
def serving(kind: str, bundle: Path, log: Path) -> Iterator[str]:
    """A service as a process of its own, ready to answer.

    Args:
        kind: `classifier` or `generator`.
        bundle: What it serves.
        log: File for what it prints.

    Yields:
        Its address, as `http://127.0.0.1:PORT`.

    Raises:
        PorcelainError: It stopped, or was not ready within `READY_SECONDS`.
    """
    port = free_port()
    command = ["serve", kind, "--bundle", str(bundle), "--port", str(port)]
    console().print(
        f"\n$ {shlex.join(['porcelain', *command])}", markup=False, soft_wrap=True, style="bold"
    )
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "porcelain", *command], stdout=output, stderr=output
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_until_ready(process, address, log)
            yield address
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def post(url: str, body: bytes, content_type: str) -> dict[str, Any]:
    """Send a body and read the JSON answer.

    Raises:
        PorcelainError: The service refused.
    """
    request = urllib.request.Request(url, data=body, headers={"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            answer: dict[str, Any] = json.load(response)
            return answer
    except urllib.error.HTTPError as error:
        raise PorcelainError(f"{url} answered {error.code}: {error.read().decode()}") from error


def _wait_until_ready(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    started = time.monotonic()
    while time.monotonic() - started < READY_SECONDS:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=2):
                console().print(f"Ready after {time.monotonic() - started:.1f} s")
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise PorcelainError(f"The service did not become ready; see {log}.")
