"""The ASGI application both services share: routing, admission, problems, logs and metrics."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from services.admission import Admission
from services.asgi import AsgiApp, ClientGoneError, Receive, Request, Response, Scope, Send
from services.auth import BearerKeys
from services.balance import ConnectionBalance
from services.draining import Drain
from services.logs import LOGGER
from services.metrics import HttpMetrics, exposition
from services.problems import MEDIA_TYPE, Problem, not_ready, problem_of
from services.rate_limit import RateLimit
from services.readiness import Readiness

Handler = Callable[[Request], Awaitable[Response]]

UNKNOWN_ROUTE = "unknown"
CLIENT_CLOSED_REQUEST = 499  # nginx's number for a caller that hung up; seen in logs only
PLAIN = "text/plain; charset=utf-8"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Route:
    """One route.

    Attributes:
        method: Its only method; GET also answers HEAD.
        handler: What answers.
        work: Whether it needs the model: admitted, refused until ready, and behind keys.
        protected: Whether a key is needed where keys are configured.
        check: Refuses before the body is read, by raising a problem.
    """

    method: str
    handler: Handler
    work: bool = False
    protected: bool = False
    check: Callable[[], None] | None = None


class RestApp:
    """Answers HTTP requests; everything else is left to BentoML."""

    def __init__(
        self,
        routes: Mapping[str, Route],
        *,
        admission: Admission,
        readiness: Readiness,
        metrics: HttpMetrics,
        keys: BearerKeys,
        rate_limit: RateLimit | None = None,
        drain: Drain | None = None,
        balance: ConnectionBalance | None = None,
        log_requests: bool = True,
    ) -> None:
        self._routes = {
            "/livez": Route("GET", self._livez),
            "/readyz": Route("GET", self._readyz),
            "/metrics": Route("GET", self._metrics_page),
            **routes,
        }
        self._admission = admission
        self._readiness = readiness
        self._metrics = metrics
        self._keys = keys
        self._rate_limit = rate_limit
        self._drain = drain or Drain(0)
        self._balance = balance
        self._log_requests = log_requests
        self._logger = logging.getLogger(LOGGER)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = time.perf_counter()
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request = Request(
            method=scope["method"],
            path=scope["path"],
            query_string=scope["query_string"],
            headers=headers,
            id=given.decode() if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8),
            receive=receive,
            client=(scope.get("client") or ("",))[0],
        )
        name = request.path if request.path in self._routes else UNKNOWN_ROUTE
        reason = None
        try:
            response = await self._answer(request)
        except ClientGoneError:
            self._finish(request, name, CLIENT_CLOSED_REQUEST, "client_gone", started)
            return
        except Exception as error:  # the boundary: a fault is a 500, never a hang
            problem = problem_of(error)
            reason = problem.reason
            if problem.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR and error is not problem:
                self._logger.exception(
                    "request failed", extra={"fields": {"request_id": request.id}}
                )
            response = Response(
                problem.body(request.id), MEDIA_TYPE, int(problem.http_status), problem.headers
            )
        shed = self._balance is not None and self._balance.answered(self._admission.requests)
        # A caller whose connection is ended connects again, to another worker or replica.
        await response.send(send, request.id, close=shed or self._drain.active)
        self._finish(request, name, response.status, reason, started)

    async def _answer(self, request: Request) -> Response:
        route = self._routes.get(request.path)
        if route is None:
            raise Problem(
                HTTPStatus.NOT_FOUND,
                "unknown_route",
                "There is nothing here; /openapi.json lists the routes.",
            )
        method = "GET" if request.method == "HEAD" else request.method
        if method != route.method:
            raise Problem(
                HTTPStatus.METHOD_NOT_ALLOWED,
                "method",
                f"Send {route.method} to {request.path}, not {request.method}.",
                {"Allow": "GET, HEAD" if route.method == "GET" else route.method},
            )
        if route.protected:
            self._drain.asked()
            self._let_in(request)
        if not route.work:
            return await route.handler(request)
        if not self._readiness.warm:
            raise not_ready()
        if route.check is not None:
            route.check()
        with self._admission.admit() as reservation:
            request.reservation = reservation
            self._metrics.in_progress.inc()
            try:
                return await route.handler(request)
            finally:
                self._metrics.in_progress.dec()

    def _let_in(self, request: Request) -> None:
        request.key = self._keys.check(request.header(b"authorization"))
        caller, limit = request.key or request.client, self._rate_limit
        if limit is not None:
            limit.admit(caller)
            request.count_pictures = lambda count: limit.charge(caller, count)

    async def _livez(self, _: Request) -> Response:
        return Response(b"alive\n", PLAIN)

    async def _readyz(self, _: Request) -> Response:
        if self._drain.active or not self._readiness.ready():
            raise not_ready()
        return Response(b"ready\n", PLAIN)

    async def _metrics_page(self, _: Request) -> Response:
        body, media_type = await asyncio.to_thread(exposition)
        return Response(body, media_type)

    def _finish(
        self, request: Request, route: str, status: int, reason: str | None, started: float
    ) -> None:
        seconds = time.perf_counter() - started
        self._metrics.answered(route, status, seconds)
        if status == HTTPStatus.TOO_MANY_REQUESTS and reason is not None:
            self._metrics.refused(reason)
        if self._log_requests and route not in ("/livez", "/readyz", "/metrics"):
            fields: dict[str, object] = {
                "request_id": request.id,
                "method": request.method,
                "path": request.path[:200],
                "status": status,
                "milliseconds": round(seconds * 1000, 1),
            }
            if request.key is not None:
                fields["key"] = request.key
            if reason is not None:
                fields["reason"] = reason
            self._logger.info("request", extra={"fields": fields})


class HttpToRest:
    """Sends HTTP to our application, and the start and stop of the process to another."""

    def __init__(self, lifespan: AsgiApp, rest: Callable[[], AsgiApp]) -> None:
        """Join both; `rest` gives ours, which exists once `lifespan` has started."""
        self._lifespan = lifespan
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route one connection."""
        if scope["type"] == "http":
            await self._rest()(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            await self._lifespan(scope, receive, send)
