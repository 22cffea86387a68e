"""Two services on one machine, a scanner, and traces: what BentoML's switches and ours do."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from porcelain.cli.local_server import free_port
from tests import pictures
from tests.services.servers import Server, start_command

COUNTED = 'porcelain_http_requests_total{route="/v1/classify",status="200"}'


def bentoml_serve(bundle: Path, home: Path, log: Path, **environment: str) -> Server:
    """As `bentoml serve` starts it, in one BENTOML_HOME with others."""
    port = free_port()
    command = [sys.executable, "-m", "bentoml", "serve"]
    command += ["services.classifier.service:ClassifierService"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    given = {"PORCELAIN_BUNDLE": str(bundle), "PORCELAIN_WORKERS": "1"}
    given |= {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    return start_command(command, port, log, {**given, **environment})


@contextmanager
def collector() -> Iterator[tuple[str, list[str]]]:
    """A receiver of OTLP over HTTP: its address, and the paths that it was sent traces on."""
    received: list[str] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(f"{self.path} {body!r}")
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", received
    finally:
        server.shutdown()


def test_two_services_in_one_home_keep_their_own_metrics_and_traces_arrive(
    bundle: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    with collector() as (endpoint, received):
        first = bentoml_serve(
            bundle, home, tmp_path / "1.log", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint
        )
        try:
            for _ in range(3):
                assert first.classify(pictures.jpeg()).status_code == 200
            second = bentoml_serve(bundle, home, tmp_path / "2.log")
            try:
                assert second.classify(pictures.jpeg()).status_code == 200
                assert first.classify(pictures.jpeg()).status_code == 200
                assert first.metrics()[COUNTED] == 4
                assert second.metrics()[COUNTED] == 1
                assert first.metrics()["porcelain_workers_ready"] == 1
            finally:
                second.stop()
            assert first.metrics()[COUNTED] == 4
            before = len(first.metrics())
            for number in range(50):  # a scanner
                httpx.get(f"{first.url}/scan/{number}?x={number}")
            assert len(first.metrics()) <= before + 20  # one route more, with its buckets
        finally:
            first.stop()
    assert received
    assert all(one.startswith("/v1/traces ") for one in received)
    assert any("/v1/classify" in one for one in received)
