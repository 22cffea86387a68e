"""Real servers, started as a user starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from porcelain.cli.local_server import free_port


@dataclass
class Server:
    """A running `porcelain serve`; every answer is held against its own document."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path
    seconds_to_ready: float = 0.0
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60))
    document: dict[str, Any] = field(default_factory=dict)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        response = self.client.request(method, self.url + path, **options)
        self.check(method, path, response)
        return response

    def check(self, method: str, path: str, response: httpx.Response) -> None:
        """Hold an answer against what holds for all answers."""
        assert response.headers["x-request-id"]
        operations = self.document["paths"].get(path.partition("?")[0])
        if operations is None:
            assert response.status_code in (200, 404, 405)
        elif method.lower() in operations:
            assert str(response.status_code) in operations[method.lower()]["responses"]
        elif method != "HEAD":
            assert response.status_code == 405
        if response.status_code >= 400 and method != "HEAD":
            assert response.headers["content-type"] == "application/problem+json"
            problem = response.json()
            assert problem["status"] == response.status_code
            assert problem["detail"].endswith(".")
            assert problem["request_id"] == response.headers["x-request-id"]
            assert "Traceback" not in response.text

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def classify(self, data: bytes, name: str = "vase.jpg", **fields: str) -> httpx.Response:
        files = {"image": (name, data, "image/jpeg")}
        return self.request("POST", "/v1/classify", files=files, data=fields)

    def workers(self) -> list[psutil.Process]:
        """The processes that answer, oldest first."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if "_bentoml_impl.worker" in " ".join(child.cmdline())]

    def metrics(self) -> dict[str, float]:
        """Series to value."""
        lines = self.get("/metrics").text.splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {series: float(value) for series, value in pairs}

    def stop(self) -> int:
        """Ask it to stop and wait."""
        self.client.close()
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()


def start_server(
    bundle: Path,
    log: Path,
    *options: str,
    kind: str = "classifier",
    port: int | None = None,
    **environment: str,
) -> Server:
    """Start a server and wait until it is ready; `environment` without its prefix."""
    port = port or free_port()
    command = [sys.executable, "-m", "porcelain.cli.main", "serve", kind]
    command += ["--bundle", str(bundle), "--port", str(port), *options]
    return start_command(command, port, log, {f"PORCELAIN_{k}": v for k, v in environment.items()})


def start_command(
    command: list[str], port: int, log: Path, environment: dict[str, str], cwd: Path | None = None
) -> Server:
    """Start whatever serves on `port` and wait until it is ready."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            cwd=cwd,
        )
    server = Server(process, f"http://127.0.0.1:{port}", log)
    begun = time.monotonic()
    while time.monotonic() - begun < 180:  # torch loads slowly on busy cores
        assert process.poll() is None, log.read_text()
        try:
            if server.client.get(server.url + "/readyz", timeout=2).status_code == 200:
                break
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    else:
        server.stop()
        raise AssertionError("not ready: " + log.read_text())
    server.seconds_to_ready = time.monotonic() - begun
    server.document = server.client.get(server.url + "/openapi.json").json()
    return server


def log_entries(log: Path) -> list[dict[str, Any]]:
    """What the workers logged; the process above them writes BentoML's own lines."""
    lines = log.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def check_log(log: Path) -> None:
    """No server may have logged an error or a traceback."""
    assert not [entry for entry in log_entries(log) if entry["level"] == "error"]
    assert "Traceback" not in log.read_text()
