"""What a service does when its terminal is closed."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest

from porcelain.cli.local_server import free_port
from tests import pictures
from tests.services.conftest import start_server
from tests.services.servers import check_log, start_command


@pytest.mark.usefixtures("terminal")
def test_it_stops_as_when_told_to(bundle: Path, tmp_path: Path) -> None:
    server = start_server(bundle, tmp_path / "log", "--workers", "2")
    workers = server.workers()
    server.process.send_signal(signal.SIGHUP)
    assert server.process.wait(30) == 0
    assert not any(worker.is_running() for worker in workers)
    check_log(tmp_path / "log")


def test_started_to_outlive_it_it_goes_on(bundle: Path, tmp_path: Path) -> None:
    port = free_port()
    command = ["nohup", sys.executable, "-m", "porcelain.cli.main", "serve", "classifier"]
    command += ["--bundle", str(bundle), "--port", str(port), "--workers", "1"]
    server = start_command(command, port, tmp_path / "log", {})
    try:
        workers = [worker.pid for worker in server.workers()]
        server.process.send_signal(signal.SIGHUP)
        time.sleep(1)
        assert server.classify(pictures.jpeg(pictures.scene(colour="blue"))).status_code == 200
        assert [worker.pid for worker in server.workers()] == workers
    finally:
        assert server.stop() == 0
