"""Starting a service: `porcelain serve` becomes `bentoml serve` of the same class."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, NoReturn

from porcelain.errors import PorcelainError, UserError

KEEP_ALIVE_SECONDS: Final = 75
"""For how long an idle connection is kept: longer than nginx keeps it, which then never sends a
request into a connection that is being closed."""
_WATCH_SECONDS: Final = 0.2


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


def serve(service: str, host: str, port: int, shutdown_seconds: int) -> NoReturn:
    """Become `bentoml serve`; requests in progress are answered before it ends.

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
    # glibc gives memory of large pictures back, and threads no heaps of their own.
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(1024 * 1024))
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(1024 * 1024))
    words = ["-m", "bentoml", "serve", service, "--host", host, "--port", str(port)]
    words += ["--timeout-keep-alive", str(KEEP_ALIVE_SECONDS)]
    words += ["--timeout-graceful-shutdown", str(shutdown_seconds)]
    os.execv(sys.executable, [sys.executable, *words])


def run_side_by_side(
    commands: Mapping[str, Sequence[str]],
    grace_seconds: float,
    on_started: Callable[[], None] = lambda: None,
) -> None:
    """Run porcelain commands until one ends or this process is told to stop.

    Args:
        commands: The words of each after `porcelain`, by a name to call it by.
        grace_seconds: What each has to stop in before it is killed.
        on_started: Called once all are started.

    Raises:
        PorcelainError: One ended by itself; the others are stopped then.
    """
    running: dict[str, subprocess.Popen[bytes]] = {}
    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as `nohup` has it
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, _interrupt) for number in numbers}
    try:
        for name, words in commands.items():
            # A session of its own: Ctrl-C reaches it through this process alone, once.
            command = [sys.executable, "-m", "porcelain", *words]
            running[name] = subprocess.Popen(command, start_new_session=True)
        on_started()
        while True:
            for name, process in running.items():
                if process.poll() is not None:
                    raise PorcelainError(
                        f"The {name} ended by itself (status {process.returncode}), and the others "
                        "with it; what it said stands above."
                    )
            time.sleep(_WATCH_SECONDS)
    except KeyboardInterrupt:
        pass
    finally:
        for process in running.values():
            process.terminate()
        deadline = time.monotonic() + grace_seconds
        for process in running.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            process.kill()
            process.wait()
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
