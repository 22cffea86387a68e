"""The FastAPI application that both services mount in BentoML, and BentoML's configuration."""

from __future__ import annotations

import os
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from porcelain import __version__
from services.metrics import SECONDS, exposition
from services.middleware import RequestMiddleware
from services.problems import MEDIA_TYPE, install_problem_handlers, not_ready
from services.schemas import ProblemDetails
from services.settings import ServiceSettings

OTLP_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
OTLP_TRACES_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"

Json = dict[str, Any]
_GZIP_BYTES: Final = 16 * 1024

_MEANINGS: Final = {
    400: "A field is missing, an option has an impossible value, or the body is malformed.",
    401: "A bearer key is needed.",
    406: "The Accept header names no media type of an answer.",
    408: "The body took too long to arrive.",
    409: "Training never saw this combination of labels, and 'allow_unseen' is not true.",
    413: "More bytes, pixels or pictures than the limits allow.",
    415: "A content type, or an image format or layout, that is not read.",
    422: "A picture or a field that cannot be used; the detail says which and why.",
    429: "As much waits as may; Retry-After says when to come back.",
    503: "The model is not ready yet.",
}


def bentoml_config(settings: ServiceSettings, *, timeout: float) -> Json:
    """What `bentoml.service` is given: the workers, and what of BentoML's own is on.

    Args:
        settings: Of the service.
        timeout: Seconds after which BentoML answers 504 in our place.
    """
    config: Json = {
        "workers": settings.worker_count,
        "metrics": {"enabled": False},
        "logging": {"access": {"enabled": False}},
        "traffic": {"timeout": timeout},
    }
    if settings.cors_origins:
        config["http"] = {
            "cors": {
                "enabled": True,
                "access_control_allow_origins": settings.cors_origins.split(","),
                "access_control_allow_methods": ["GET", "POST"],
                "access_control_allow_headers": ["Authorization", "Content-Type", "X-Request-Id"],
                "access_control_expose_headers": ["X-Request-Id", "X-Seed", "Retry-After"],
            }
        }
    base = os.environ.get(OTLP_ENDPOINT, "")
    endpoint = os.environ.get(OTLP_TRACES_ENDPOINT) or (base and f"{base.rstrip('/')}/v1/traces")
    if endpoint:
        config["tracing"] = {
            "exporter_type": "otlp",
            "sample_rate": settings.trace_share,
            "excluded_urls": ["/livez", "/readyz", "/metrics"],
            "otlp": {"protocol": "http", "endpoint": endpoint},
        }
    return config


def create_app(title: str, description: str, fields: type[BaseModel]) -> FastAPI:
    """An application with what both services have: metrics, documents, problem details.

    Args:
        title: Of its OpenAPI document.
        description: Likewise.
        fields: The fields that its requests have.
    """
    app: FastAPI = FastAPIOffline(
        docs_url="/docs",
        redoc_url=None,
        static_url="/docs-assets",
        title=title,
        description=description,
        version=__version__,
        redirect_slashes=False,
    )
    install_problem_handlers(app, fields)
    app.add_middleware(GZipMiddleware, minimum_size=_GZIP_BYTES, compresslevel=1)

    @app.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
    def metrics() -> Response:
        body, media_type = exposition()
        return Response(body, media_type=media_type)

    # BentoML's own routes of these paths come first, and ask `__is_ready__`: these tell of them.
    @app.get("/livez", summary="Whether the process lives", response_class=PlainTextResponse)
    async def livez() -> str:
        return "\n"

    @app.get(
        "/readyz",
        summary="Whether requests may be sent",
        response_class=PlainTextResponse,
        responses=problems(503),
    )
    async def readyz() -> str:
        raise not_ready()

    def openapi() -> Json:
        if app.openapi_schema is None:
            document = get_openapi(
                title=title, version=__version__, description=description, routes=app.routes
            )
            app.openapi_schema = _with_problems(document)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's way to extend the document
    return app


def complete(
    service: Any,  # noqa: ANN401 - BentoML is untyped to us
    app: FastAPI,
    settings: ServiceSettings,
    buckets: tuple[float, ...] = SECONDS,
) -> None:
    """Put a service together when all routes of its class are there.

    Args:
        service: The BentoML service.
        app: Its application, which gets an answer for what no route has, in place of BentoML's
            own pages.
        settings: Of the service.
        buckets: Upper bounds of the request duration's histogram, in seconds.
    """
    app.router.routes.append(Route("/{path:path}", _Rest(), include_in_schema=False))
    service.add_asgi_middleware(
        RequestMiddleware,
        upload_seconds=settings.upload_seconds,
        log_requests=settings.log_requests,
        buckets=buckets,
    )


class _Rest:
    """405 where a route has the path, and else 404."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for route in scope["app"].routes:
            match, found = route.matches(scope)
            if match is Match.PARTIAL:
                scope.update(found)
                await route.handle(scope, receive, send)
                return
        raise HTTPException(HTTPStatus.NOT_FOUND)


def problems(*statuses: int, keys: bool = False) -> dict[int | str, Json]:
    """The `responses` of a route that may answer these statuses, and 401 where it needs keys."""
    responses: dict[int | str, Json] = {}
    for status in sorted({*statuses, *([401] if keys else [])}):
        responses[status] = {"model": ProblemDetails, "description": _MEANINGS[status]}
        if status in (429, 503):
            responses[status]["headers"] = {
                "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}
            }
    return responses


def _with_problems(document: Json) -> Json:
    """The document with problem details under their own media type."""
    for path in document["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                content = response.get("content", {})
                if int(status) >= HTTPStatus.BAD_REQUEST and content:
                    response["content"] = {MEDIA_TYPE: next(iter(content.values()))}
    return document
