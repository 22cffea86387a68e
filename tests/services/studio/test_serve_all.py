"""`porcelain serve all`, as `make serve` runs it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import httpx
import pytest

from porcelain.cli.local_server import free_port
from tests.services.servers import check_log
from tests.services.studio.running import start_and_wait


@pytest.mark.slow
def test_all_three_start_whatever_bundle_the_environment_names(
    bundle: Path, generator_bundle: Path, tmp_path: Path
) -> None:
    ports = [free_port() for _ in range(3)]
    command = [sys.executable, "-m", "porcelain", "serve", "all"]
    command += ["--classifier", str(bundle), "--generator", str(generator_bundle)]
    for name, port in zip(("classifier", "generator", "studio"), ports, strict=True):
        command += [f"--{name}-port", str(port)]
    environment = {"PORCELAIN_BUNDLE": str(tmp_path / "another"), "PORCELAIN_WORKERS": "1"}
    running = start_and_wait(command, ports, tmp_path / "log", environment)
    try:
        models = [httpx.get(f"http://127.0.0.1:{port}/v1/model").json() for port in ports[:2]]
        assert [model["model"]["name"] for model in models] == ["colours", "tiny"]
        assert "Porcelain studio" in httpx.get(running.url).text
        said = (tmp_path / "log").read_text()
        assert f"studio: {running.url}  <- open this one" in said
    finally:
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(60) == 0
    for port in ports:
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{port}/livez")
    check_log(tmp_path / "log")
