"""Debian's nginx with the shipped configuration, before replicas of a test or a benchmark."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
SHIPPED = ROOT / "nginx"


def write_configuration(
    folder: Path, port: int, replicas: Sequence[str], changes: Mapping[str, str]
) -> Path:
    """The shipped files, before these replicas (`host:port`), with texts changed if asked."""
    folder.mkdir(parents=True, exist_ok=True)
    named = "".join(f"server {one} max_fails=1 fail_timeout=2s;\n" for one in replicas)
    server = (SHIPPED / "compose.conf").read_text()
    server = server.partition("server {\n    listen 3001")[0]
    server = server.replace("listen 3000", f"listen {port}")
    server = re.sub(r"upstream generator \{.*?\n\}\n", "", server, flags=re.DOTALL)
    server = re.sub(r"( +server classifier-\d.*;\n)+", named, server)
    main = (SHIPPED / "nginx.conf").read_text().replace("/tmp/nginx", f"{folder}/nginx")
    for old, new in changes.items():
        assert old in main
        main = main.replace(old, new)
    (folder / "nginx.conf").write_text(main)
    (folder / "server.conf").write_text(server)
    shutil.copy(SHIPPED / "proxy.conf", folder)
    return folder / "nginx.conf"


@contextmanager
def proxy(
    folder: Path, port: int, replicas: Sequence[str], changes: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Nginx before the replicas, on `port` of loopback."""
    assert NGINX is not None
    configuration = write_configuration(folder, port, replicas, changes or {})
    with (folder / "nginx.log").open("wb") as log:
        command = [NGINX, "-c", str(configuration), "-p", str(folder), "-g", "daemon off;"]
        process = subprocess.Popen(command, stderr=log)
    try:
        begun = time.monotonic()
        while True:
            assert process.poll() is None, (folder / "nginx.log").read_text()
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() - begun < 20
                time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait(20)
