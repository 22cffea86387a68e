"""A museum's server on this machine: answers, refuses, breaks off and lies as it is told."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

JPEG = "image/jpeg"


@dataclass
class Answer:
    """What is at a path.

    `cut` breaks the connection after so many bytes; `slow` waits before the body.
    """

    body: bytes = b""
    content_type: str = "application/json"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    slow: float = 0.0
    tagged: bool = True

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.body).hexdigest()[:16]}"'


@dataclass
class Asked:
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    at: float


Route = Answer | Callable[[dict[str, str]], Answer]


class MuseumServer:
    """Routes by path; faults are given once each, in order, before the true answer."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.faults: dict[str, list[Answer]] = defaultdict(list)
        self.asked: list[Asked] = []
        self.url = ""

    def json(self, path: str, value: Any) -> None:
        self.routes[path] = Answer(json.dumps(value, ensure_ascii=False).encode())

    def picture(self, path: str, body: bytes, content_type: str = JPEG) -> str:
        self.routes[path] = Answer(body, content_type)
        return self.url + path

    def fault(self, path: str, *answers: Answer) -> None:
        self.faults[path] += answers

    def counts(self) -> Counter[str]:
        return Counter(asked.path for asked in self.asked)

    def answer(self, path: str, query: dict[str, str]) -> Answer:
        if self.faults[path]:
            return self.faults[path].pop(0)
        route = self.routes.get(path, Answer(b"not here", "text/plain", 404))
        return route if isinstance(route, Answer) else route(query)


@contextmanager
def running() -> Iterator[MuseumServer]:
    museum = MuseumServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = dict(parse_qsl(parts.query))
            museum.asked.append(
                Asked(parts.path, query, dict(self.headers.items()), time.monotonic())
            )
            send(self, museum.answer(parts.path, query))

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    museum.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield museum
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    asked = {name.lower(): value for name, value in handler.headers.items()}
    if answer.tagged and answer.status == 200 and asked.get("if-none-match") == answer.etag:
        handler.send_response(304)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    body, status, extra = answer.body, answer.status, dict(answer.headers)
    if answer.tagged and status == 200:
        extra["ETag"] = answer.etag
        if "range" in asked and asked.get("if-range") == answer.etag:
            start = int(asked["range"].removeprefix("bytes=").rstrip("-"))
            extra["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body, status = body[start:], 206
    handler.send_response(status)
    handler.send_header("Content-Type", answer.content_type)
    handler.send_header("Content-Length", str(len(body)))
    for name, value in extra.items():
        handler.send_header(name, value)
    handler.end_headers()
    if answer.slow:
        time.sleep(answer.slow)
    handler.wfile.write(body if answer.cut is None else body[: answer.cut])
    if answer.cut is not None:
        handler.wfile.flush()
        handler.close_connection = True
        handler.connection.close()
