"""A studio started as a user starts it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from tests.services.servers import Server

PATIENCE = 180  # seconds; machines are busy


def start_and_wait(
    command: Sequence[str], ports: Sequence[int], log: Path, environment: Mapping[str, str]
) -> Server:
    """Start a command and wait until it is ready on all ports; its address is the last one's."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(command),
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )
    running = Server(process, f"http://127.0.0.1:{ports[-1]}", log)
    begun = time.monotonic()
    waiting = list(ports)
    while waiting and process.poll() is None and time.monotonic() < begun + PATIENCE:
        try:
            url = f"http://127.0.0.1:{waiting[0]}/readyz"
            if running.client.get(url, timeout=2).status_code == 200:
                waiting.pop(0)
        except httpx.TransportError:
            time.sleep(0.1)
    if waiting:
        running.stop()
        raise AssertionError("not ready: " + log.read_text())
    running.seconds_to_ready = time.monotonic() - begun
    return running
