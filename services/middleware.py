"""What every request of a worker passes, BentoML's own routes included: id, log, metrics."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import time
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.logs import LOGGER
from services.metrics import SECONDS, HttpMetrics
from services.problems import (
    CLIENT_CLOSED_REQUEST,
    MEDIA_TYPE,
    Problem,
    problem_of_status,
    unsupported_type,
)

UNKNOWN_ROUTE: Final = "unknown"
HEALTH: Final = frozenset({"/livez", "/readyz", "/healthz"})
"""Routes that BentoML answers itself."""
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_UNLOGGED: Final = HEALTH | {"/metrics"}


class RequestMiddleware:
    """Gives each request an id, logs and counts it, and turns bare errors into problem details.

    Bare errors are those that BentoML and Starlette make as plain text: a service that is not
    ready, a body over the limit, a fault.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        upload_seconds: float,
        log_requests: bool,
        buckets: tuple[float, ...] = SECONDS,
    ) -> None:
        """Wrap `app`.

        Args:
            app: The application behind.
            upload_seconds: Within which a request's body must have arrived.
            log_requests: Whether to log one line per request.
            buckets: Upper bounds of the request duration's histogram, in seconds.
        """
        self._app = app
        self._upload_seconds = upload_seconds
        self._log_requests = log_requests
        self._metrics = HttpMetrics(buckets)
        self._logger = logging.getLogger(LOGGER)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        works = scope["path"].startswith("/v1/")
        if works:
            self._metrics.in_progress.inc()
        try:
            await self._answer(exchange, receive)
        finally:
            if works:
                self._metrics.in_progress.dec()
            self._record(exchange)

    async def _answer(self, exchange: _Exchange, receive: Receive) -> None:
        encoding = exchange.headers.get("content-encoding", "identity").lower()
        if encoding != "identity":
            await exchange.refuse(unsupported_type("Send the body without Content-Encoding."))
            return
        try:
            body = _deadline(receive, self._upload_seconds)
            await self._app(exchange.scope, body, exchange.send)
        except Exception:
            self._logger.exception("request failed", extra={"fields": {"request_id": exchange.id}})
            if exchange.status == CLIENT_CLOSED_REQUEST:
                await exchange.refuse(problem_of_status(HTTPStatus.INTERNAL_SERVER_ERROR))

    def _record(self, exchange: _Exchange) -> None:
        seconds = time.perf_counter() - exchange.started
        route, status, reason = exchange.route(), exchange.status, exchange.state.get("reason")
        self._metrics.answered(route, status, seconds)
        if not self._log_requests or route in _UNLOGGED:
            return
        fields: dict[str, object] = {
            "request_id": exchange.id,
            "client": (exchange.scope.get("client") or ("",))[0],
            "method": exchange.method,
            "path": exchange.scope["path"][:200],
            "status": status,
            "milliseconds": round(seconds * 1000, 1),
        }
        known = {"key": exchange.state.get("key"), "reason": reason}
        fields.update({name: value for name, value in known.items() if value is not None})
        self._logger.info("request", extra={"fields": fields})


def _deadline(receive: Receive, seconds: float) -> Receive:
    """Receive a body within some seconds; what comes after it may take its time."""
    deadline = asyncio.get_running_loop().time() + seconds
    complete = False

    async def receive_in_time() -> Message:
        nonlocal complete
        if complete:
            return await receive()
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError as error:
            raise Problem(
                HTTPStatus.REQUEST_TIMEOUT,
                "too_slow",
                f"The body did not arrive within {seconds:g} seconds; send it again, faster.",
                {"Connection": "close"},
            ) from error
        complete = not message.get("more_body", False)
        return message

    return receive_in_time


class _Exchange:
    """One request and the answer that is being sent."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.started = time.perf_counter()
        self.headers = Headers(scope=scope)
        given = self.headers.get("x-request-id", "")
        self.id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        self.method: str = scope["method"]
        # HEAD is GET without a body, which the server leaves out; routes know GET alone.
        method = "GET" if self.method == "HEAD" else self.method
        self.scope: Scope = {**scope, "method": method}
        self.state: dict[str, object] = self.scope.setdefault("state", {})
        self.state["request_id"] = self.id
        self.status: int = CLIENT_CLOSED_REQUEST  # until an answer begins
        self._send = send
        self._replaced = False

    def route(self) -> str:
        """The template of the route that answered, never the caller's path."""
        path: str = self.scope["path"]
        template = getattr(self.scope.get("route"), "path_format", None)
        if path in HEALTH or path == template:
            return path
        return UNKNOWN_ROUTE

    async def send(self, message: Message) -> None:
        """Send on, marked with the request's id."""
        if self._replaced:
            return
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            kind = headers.get("content-type", "text/plain")
            bare = message["status"] >= HTTPStatus.BAD_REQUEST and kind.startswith("text/plain")
            # To a caller that has hung up nothing is told; but BentoML waits for an answer.
            if bare and message["status"] != CLIENT_CLOSED_REQUEST:
                kept = {"Allow": headers["allow"]} if "allow" in headers else None
                await self.refuse(problem_of_status(message["status"], kept))
                return
            self._begin(message["status"], headers)
        await self._send(message)

    async def refuse(self, problem: Problem) -> None:
        """Send problem details in place of what the application would send."""
        self._replaced = True
        self.state["reason"] = problem.reason
        body = json.dumps({**problem.members(), "request_id": self.id}).encode()
        start: Message = {
            "type": "http.response.start",
            "status": problem.status_code,
            "headers": [],
        }
        headers = MutableHeaders(scope=start)
        headers.update({"content-type": MEDIA_TYPE, "content-length": str(len(body))})
        headers.update(problem.headers or {})
        self._begin(problem.status_code, headers)
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})

    def _begin(self, status: int, headers: MutableHeaders) -> None:
        self.status = status
        headers["x-request-id"] = self.id
        headers["x-content-type-options"] = "nosniff"
