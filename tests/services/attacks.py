"""Attacks on a service's doors: pickles that do harm, and addresses to be fetched from."""

from __future__ import annotations

import os
import pickle
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests import pictures
from tests.services.servers import Server

PICKLES = (
    "application/vnd.bentoml+pickle",
    "application/vnd.bentoml+pickle; charset=binary",
    "application/x-pickle",
    "application/octet-stream",
)
PATHS = ("/", "/v1/classify", "/v1/classify_batch", "/v1/generate", "/infer", "/explain")


class Exploit:
    """Unpickled anywhere, it leaves a file behind."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (self.path, "w")


def processes(server: Server) -> list[psutil.Process]:
    parent = psutil.Process(server.process.pid)
    return [parent, *parent.children(recursive=True)]


def tcp_ports(server: Server) -> set[tuple[str, int]]:
    return {
        (one.laddr.ip, one.laddr.port)
        for process in processes(server)
        for one in process.net_connections("inet")
        if one.status == psutil.CONN_LISTEN
    }


def unix_sockets(server: Server) -> list[str]:
    """Paths of the sockets on which the service's processes listen."""
    named = {
        one.laddr
        for process in processes(server)
        for one in process.net_connections("unix")
        if one.laddr
    }
    return sorted(path for path in named if Path(path).is_socket())


def check_doors(server: Server, sockets: int) -> None:
    """One port for all, two of BentoML's supervisor on loopback, and sockets of its own user."""
    own = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    assert own in tcp_ports(server)
    assert len(tcp_ports(server)) <= 3
    assert {address for address, _ in tcp_ports(server)} == {"127.0.0.1"}
    assert len(unix_sockets(server)) == sockets
    for path in unix_sockets(server):
        folder = Path(path).parent.stat()
        assert folder.st_mode & 0o077 == 0
        assert folder.st_uid == os.getuid()


def pickle_requests(payload: bytes) -> Iterator[tuple[str, dict[str, str], bytes]]:
    form = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n'
    form += b"Content-Type: application/vnd.bentoml+pickle\r\n\r\n" + payload + b"\r\n--x--\r\n"
    for path in PATHS:
        for kind in PICKLES:
            yield path, {"Content-Type": kind}, payload
        # As BentoML's client sends arrays: buffers after the pickle.
        yield path, {"Content-Type": PICKLES[0], "Buffer-Lengths": str(len(payload))}, payload
        yield path, {"Content-Type": "multipart/form-data; boundary=x"}, form


def knock(payload: bytes, family: socket.AddressFamily, address: Any) -> None:
    """Send it as it is."""
    with suppress(OSError), socket.socket(family) as raw:
        raw.settimeout(0.5)
        raw.connect(address)
        raw.sendall(payload)
        raw.recv(4096)


def exploit_everywhere(server: Server, mark: Path) -> list[int]:
    """Statuses of all HTTP requests to the public port, and a knock at every other TCP port.

    The Unix socket of an inner service does read pickles: BentoML's services talk in them. Its
    folder lets nobody in but the services' own user.
    """
    payload = pickle.dumps(Exploit(str(mark)))
    for address in tcp_ports(server):
        knock(payload, socket.AF_INET, address)
    statuses = []
    with httpx.Client(timeout=20) as client:
        for path, headers, body in pickle_requests(payload):
            url = server.url + path
            statuses.append(client.post(url, headers=headers, content=body).status_code)
    assert len(statuses) == len(PATHS) * (len(PICKLES) + 2)
    assert not mark.exists()
    return statuses


FIELDS = ("image", "images", "top_k", "explain", "coverage", "label_sets", "object", "similar", "x")
GENERATOR_FIELDS = (
    *("dynasty", "glaze", "kiln", "type", "count", "seed", "steps", "guidance_scale"),
    *("format", "allow_unseen", "prompt", "image", "url", "base"),
)
HEADERS = (
    *("Referer", "Origin", "Host", "Accept", "Authorization", "Link", "Content-Location"),
    *("X-Request-Id", "X-Forwarded-Host", "X-Forwarded-For", "Forwarded", "traceparent"),
    *("X-Callback-Url", "Content-Type"),
)


def url_requests(url: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """A URL in every field, header, part and place of both services' requests."""
    for path, name in (("/v1/classify", "image"), ("/v1/classify_batch", "images")):
        good = {name: ("a.jpg", pictures.jpeg())}
        for field in FIELDS:
            yield "POST", path, {"files": {field: (None, url)}}
            yield "POST", path, {"files": {field: (url, url.encode())}}
            yield "POST", path, {"files": good, "data": {field: url}}
            yield "POST", path, {"files": good, "params": {field: url}}
            yield "POST", path, {"data": {field: url}}
            yield "POST", path, {"json": {field: url}}
    for path in ("/v1/classify", "/v1/classify_batch", "/v1/generate"):
        for kind in ("image/jpeg", "text/plain", "application/json", "text/uri-list"):
            yield "POST", path, {"content": url, "headers": {"Content-Type": kind}}
    for field in GENERATOR_FIELDS:
        yield "POST", "/v1/generate", {"json": {field: url}}
        yield "POST", "/v1/generate", {"json": {field: [url]}}
    for header in HEADERS:
        picture = {"Content-Type": "image/jpeg", header: url}
        yield "POST", "/v1/classify", {"content": pictures.jpeg(), "headers": picture}
        yield "POST", "/v1/generate", {"content": b"{}", "headers": {header: url}}
    yield "GET", "/v1/model", {"params": {"url": url}}


def nobody_calls(server: Server) -> set[int]:
    """Statuses of all of `url_requests`, while a listener that they point to hears nothing."""
    statuses = set()
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        place = f"127.0.0.1:{listener.getsockname()[1]}/vase.jpg"
        with httpx.Client(timeout=60) as client:
            for url in (f"http://{place}", f"HTTPS://{place}", f"//{place}", f'"http://{place}"'):
                for method, path, options in url_requests(url):
                    answer = client.request(method, server.url + path, **options)
                    statuses.add(answer.status_code)
        # Who had called would wait in the listener's queue.
        time.sleep(0.5)
        listener.settimeout(0.1)
        with pytest.raises(TimeoutError):
            listener.accept()
    return statuses
