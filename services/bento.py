"""What both services need of BentoML: its configuration, and starting it."""

from __future__ import annotations

import importlib
import ipaddress
import json
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import bentoml
from _bentoml_sdk import Service

from porcelain.bundle import Bundle, load_bundle
from porcelain.errors import BundleError, UserError
from services.asgi import AsgiApp
from services.rest import HttpToRest

RUNNER_MAP = "BENTOML_RUNNER_MAP"
BEFORE_ANOTHER_START: Final = 10.0
"""Seconds that a worker whose bundle was damaged waits before it ends."""

# For inner services: their traffic is counted by the API service.
INNER_SERVER: Final[dict[str, Any]] = {
    "metrics": {"enabled": False},
    "logging": {"access": {"enabled": False}},
    # Its client would close a connection after 100 requests with others still in flight on it.
    "runner_connection": {"max_requests": 1_000_000_000, "max_age": 1e9},
}


class RestService(Service[Any]):  # type: ignore[misc]  # BentoML is untyped to us
    """A BentoML service whose HTTP requests all go to the `rest` application of its instance.

    BentoML keeps the processes, the start and stop of the instance and the inner services. Its
    own routes and middlewares are left out: answers that are not problem details, metrics whose
    labels any scanner can make grow, a timer of a minute that every request leaves behind, and a
    docs page that loads an outside script. `bentoml.asgi_app` would come after all of these.
    """

    def to_asgi(self, is_main: bool = True) -> AsgiApp:
        """The application that a worker runs."""
        from services.connections import use_limited_connections  # imports the HTTP server

        use_limited_connections()
        lifespan: AsgiApp = super().to_asgi(is_main)
        return HttpToRest(lifespan, lambda: bentoml.get_current_service().rest)


def load_to_serve(folder: Path, kind: Literal["classifier", "generator"]) -> Bundle:
    """A worker's bundle.

    One that was damaged under a running service is refused after a pause, because the worker is
    started again and again until it can be read, and the others need the processor.

    Raises:
        BundleError: It is not as it should be.
    """
    try:
        return load_bundle(folder, kind)
    except BundleError:
        time.sleep(BEFORE_ANOTHER_START)
        raise


def worker_index() -> int:
    """This worker's number within its service, from 0."""
    from bentoml._internal.context import server_context

    return (server_context.worker_index or 1) - 1


def require_private_socket(service: str) -> None:
    """Refuse to run an inner service that others can reach.

    Started by its API service it listens on a Unix socket of its own user; started by itself it
    would run the model for anybody, without keys and limits.

    Raises:
        UserError: The service listens elsewhere than on a Unix socket.
    """
    urls: dict[str, str] = json.loads(os.environ.get(RUNNER_MAP, "{}"))
    if not urls.get(service, "").startswith("file:"):
        raise UserError(
            f"{service} must not be started by itself, where anybody can reach it. Start the API "
            "service, which runs it behind a Unix socket."
        )


def stop_after_others(needed: Callable[[], bool], seconds: float) -> None:
    """Let this process outlive those that need it, when all are told to stop at once.

    Args:
        needed: Whether others still need this process.
        seconds: How long to wait for them at most.
    """
    stop = signal.getsignal(signal.SIGTERM)

    def wait(number: int) -> None:
        deadline = time.monotonic() + seconds
        while needed() and time.monotonic() < deadline:
            time.sleep(0.1)
        if callable(stop):
            stop(number, None)

    def on_signal(number: int, _: object) -> None:
        threading.Thread(target=wait, args=(number,), daemon=True).start()

    signal.signal(signal.SIGTERM, on_signal)


def check_address(host: str, port: int) -> None:
    """Say early and clearly that the address cannot be listened on.

    Raises:
        UserError: Not an IP address of this machine, or the port is taken.
    """
    try:
        version = ipaddress.ip_address(host).version
    except ValueError as error:
        raise UserError(f"--host {host} is not an IP address; use 127.0.0.1 or 0.0.0.0.") from error
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(
                f"Cannot listen on {host} port {port}: {error.strerror}; choose another --port."
            ) from error


def run(service: str, host: str, port: int, shutdown_seconds: int) -> None:
    """Serve until a signal; requests in progress are answered first.

    Args:
        service: Import path, `module:attribute`.
        host: IP address to listen on.
        port: Port to listen on.
        shutdown_seconds: How long they may take.

    Raises:
        UserError: The address cannot be listened on.
    """
    check_address(host, port)
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    os.environ.pop("BENTOML_NO_UDS", None)  # the inner service must stay on a Unix socket
    # libuv: pause after each accepted connection, or the first worker to wake takes them all.
    os.environ.setdefault("UV_TCP_SINGLE_ACCEPT", "1")
    with tempfile.TemporaryDirectory(prefix="porcelain-serve-") as home:
        # A home of its own: two servers that share one would clear each other's metrics.
        os.environ["BENTOML_HOME"] = home
        from _bentoml_impl.server import serve_http
        from bentoml._internal.log import configure_server_logging

        from services.logs import configure_logs

        configure_server_logging()
        configure_logs()
        module, _, name = service.partition(":")
        loaded = getattr(importlib.import_module(module), name)
        loaded.inject_config()
        serve_http(
            loaded,
            host=host,
            port=port,
            timeout_graceful_shutdown=shutdown_seconds,
        )
