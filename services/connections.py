"""What one connection may cost before and after the application has its request.

uvicorn bounds neither the head of a request nor the time it takes, and waits for ever for a caller
that does not read its answer. The bounds on bodies are in `services.asgi`.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from http import HTTPStatus
from typing import Any, ClassVar, Final

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http import auto
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from services.problems import MEDIA_TYPE, Problem, bad_request
from services.settings import ConnectionLimits

LINGER_SECONDS: Final = 5.0
"""For how long a body is read on whose request is answered already, so that the answer arrives."""
MOST_AHEAD: Final = 16
"""So many requests may wait on a connection behind the one that is answered. Without a bound a
caller that sends thousands ahead fills the memory, and the event loop with parsing them."""
FIRST_REQUEST_SECONDS: Final = 0.5
"""What a caller who has just connected has to send a request when the service stops."""
PROBE_SECONDS: Final = 30
"""A silent peer is asked whether it is still there after so long."""


class LimitedHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP connection with bounds; what it refuses is answered as problem details."""

    limits: ClassVar[ConnectionLimits] = ConnectionLimits()

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - uvicorn's
        super().__init__(*args, **options)
        self._head_bytes = 0
        self._in_head = True
        self._answering: RequestResponseCycle | None = None
        self._refusal: Problem | None = None
        self._deadlines: dict[str, asyncio.TimerHandle] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; one connection too many is answered 503 and closed."""
        super().connection_made(transport)
        _notice_lost_peers(transport, self.limits.send_seconds)
        if len(self.connections) > self.limits.most:
            self._refuse(
                Problem(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    "too_many_connections",
                    "Too many connections are open; connect again in a second.",
                    {"Retry-After": "1"},
                )
            )
            return
        self._within("head", self.limits.head_seconds, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._nobody_listens()
        for name in list(self._deadlines):
            self._done(name)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; a head that goes on too long is refused."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > self.limits.head_bytes:
            self._refuse(_long_head(self.limits.head_bytes))

    def on_message_begin(self) -> None:
        """A head begins."""
        self._within("head", self.limits.head_seconds, self._head_is_late)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is there; a long one that came in one piece is refused here."""
        self._in_head = False
        self._done("head")
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.limits.head_bytes:
            self._refusal = _long_head(self.limits.head_bytes)
            raise ValueError("head too long")  # ends in send_400_response
        if len(self.pipeline) >= MOST_AHEAD:
            self._refusal = _many_ahead()
            self.pipeline.clear()
            self._nobody_listens()  # an answer after the refusal would be taken for another's
            raise ValueError("too many requests ahead")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is there; what comes next is another head."""
        self._in_head, self._head_bytes = True, 0
        self._done("body")
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is written; the rest of its request's body is read for a while."""
        if self.cycle.more_body:
            self._within("body", LINGER_SECONDS, self._abort)
        if self.transport.is_closing():
            self._within("answer", self.limits.send_seconds, self._abort)
        super().on_response_complete()

    def shutdown(self) -> None:
        """The service stops: a connection just made may still bring its one request."""
        if self.cycle is None and not self.transport.is_closing():
            self._within("head", FIRST_REQUEST_SECONDS, self.transport.close)
        else:
            super().shutdown()

    def pause_writing(self) -> None:
        """The caller does not read as fast as we write."""
        self._within("answer", self.limits.send_seconds, self._abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        """The caller has read on."""
        self._done("answer")
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP request."""
        problem = self._refusal or bad_request("http", "Send a valid HTTP/1.1 request.")
        self._refuse(problem)

    def _refuse(self, problem: Problem) -> None:
        if self.transport.is_closing():
            return
        request_id = secrets.token_hex(8)
        body = problem.body(request_id)
        headers = {
            "content-type": MEDIA_TYPE,
            "content-length": str(len(body)),
            "x-request-id": request_id,
            "connection": "close",
            **problem.headers,
        }
        status = HTTPStatus(problem.http_status)
        lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        self.transport.close()
        self._within("answer", self.limits.send_seconds, self._abort)

    def _head_is_late(self) -> None:
        if self._head_bytes == 0:
            self._abort()
            return
        seconds = self.limits.head_seconds
        self._refuse(
            Problem(
                HTTPStatus.REQUEST_TIMEOUT,
                "too_slow",
                f"The headers did not arrive within {seconds:g} seconds; send them faster.",
            )
        )

    def _abort(self) -> None:
        self._nobody_listens()
        self.transport.abort()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _nobody_listens(self) -> None:
        """Tell the request that is being answered; of pipelined ones uvicorn tells the last."""
        if self._answering is not None:
            self._answering.disconnected = True

    def _within(self, name: str, seconds: float, otherwise: Any) -> None:  # noqa: ANN401
        """Do `otherwise` unless `_done(name)` comes within some seconds."""
        self._done(name)
        self._deadlines[name] = self.loop.call_later(seconds, otherwise)

    def _done(self, name: str) -> None:
        deadline = self._deadlines.pop(name, None)
        if deadline is not None:
            deadline.cancel()


def use_limited_connections() -> None:
    """Let the uvicorn server that this process is about to configure use `LimitedHttpProtocol`."""
    auto.AutoHTTPProtocol = LimitedHttpProtocol


def limit_connections(limits: ConnectionLimits) -> None:
    """Set the limits of connections to come."""
    LimitedHttpProtocol.limits = limits


def _long_head(most: int) -> Problem:
    return Problem(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "headers_too_large",
        f"The request's first line and headers have more than {most:,} bytes; send fewer.",
    )


def _many_ahead() -> Problem:
    return Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too_many_ahead",
        f"More than {MOST_AHEAD} requests were sent on one connection without waiting for their "
        "answers; send them again, and wait.",
        {"Retry-After": "1"},
    )


def _notice_lost_peers(transport: asyncio.Transport, seconds: float) -> None:
    """Have the kernel end a connection whose other end is gone without a word (Linux)."""
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", PROBE_SECONDS),
        ("TCP_KEEPINTVL", PROBE_SECONDS // 3),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", round(seconds * 1000)),
    ):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
