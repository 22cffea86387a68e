"""RFC 9457 problem details: how both services say that they cannot answer, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from porcelain.errors import ImageError

MEDIA_TYPE: Final = "application/problem+json"
CLIENT_CLOSED_REQUEST: Final = 499
"""nginx's number for a caller that hung up; seen in logs and metrics only."""

FULL: Final = "full"
"""Reason of a 429 that only more replicas would spare the caller."""

_REASONS: Final = {
    400: ("form", "The body cannot be read; let your client's library write it."),
    404: ("unknown_route", "There is nothing here; /openapi.json lists the routes."),
    405: ("method", "The route has another method; see the header Allow."),
    413: ("too_large", "The request has more bytes than this route takes; send less at a time."),
    503: ("not_ready", "The model is not ready yet; send the request again in a second."),
}
_INTERNAL: Final = (
    "internal",
    "The service failed on this request; send it again, and report the request id if it fails "
    "once more.",
)


class Problem(HTTPException):
    """An answer other than success.

    Attributes:
        reason: Short, stable name for programs and metrics, from a bounded set.
        detail: One sentence that tells the caller what to do.
    """

    def __init__(
        self, status: int, reason: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, headers)
        self.reason = reason

    def members(self) -> dict[str, Any]:
        """The members of the problem object (RFC 9457, section 3.1)."""
        return {
            "type": f"urn:porcelain:problem:{self.reason}",
            "title": HTTPStatus(self.status_code).phrase,
            "status": self.status_code,
            "detail": self.detail,
        }


def problem_of(error: Exception) -> Problem:
    """The problem that answers `error`; anything that no caller causes is a 500."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ImageError):
        return Problem(error.status, error.reason, str(error))
    if isinstance(error, HTTPException):
        return problem_of_status(error.status_code, error.headers)
    return problem_of_status(500)


def problem_of_status(status: int, headers: Mapping[str, str] | None = None) -> Problem:
    """The problem of an answer of which only the status is known."""
    reason, detail = _REASONS.get(status, _INTERNAL)
    given = dict(headers or {})
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        given.setdefault("Retry-After", "1")
    return Problem(status, reason, detail, given)


def bad_request(reason: str, detail: str) -> Problem:
    """400: the request lacks something or has a value that cannot be meant."""
    return Problem(HTTPStatus.BAD_REQUEST, reason, detail)


def too_large(detail: str) -> Problem:
    """413: more bytes or parts than the limits allow."""
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", detail)


def unsupported_type(detail: str) -> Problem:
    """415: a content type that the route does not take."""
    return Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_content_type", detail)


def unusable(detail: str, reason: str = "unusable_request") -> Problem:
    """422: well-formed, but with a value that the service cannot or will not do."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, reason, detail)


def full(detail: str, seconds: int = 1) -> Problem:
    """429: everything that may be in progress is; the caller waits some seconds."""
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, FULL, detail, {"Retry-After": str(seconds)})


def not_ready() -> Problem:
    """503: the model is loading or its process is away."""
    return problem_of_status(HTTPStatus.SERVICE_UNAVAILABLE)


def problem_of_fields(errors: Sequence[Any], fields: Sequence[str], status: int) -> Problem:
    """The problem of fields that pydantic refused; the first is told.

    Args:
        errors: As `ValidationError.errors` gives them, locations without "query" or "body".
        fields: What there is, for a field that there is not.
        status: 400 or 422.
    """
    first = errors[0]
    name = ".".join(str(part) for part in first["loc"])[:50]
    if first["type"] == "extra_forbidden":
        detail = f"There is no field {name!a}; there are {', '.join(fields)}."
    elif not name:
        detail = "The body must be a JSON object with these fields: " + ", ".join(fields) + "."
    else:
        message = str(first["msg"])
        detail = f"{name!a} cannot be used: {message[:1].lower()}{message[1:].rstrip('.')}."
    return Problem(status, "option" if status == HTTPStatus.BAD_REQUEST else "fields", detail)


def install_problem_handlers(app: FastAPI, fields: type[BaseModel]) -> None:
    """Answer every exception of `app`'s routes with problem details.

    Args:
        app: The application.
        fields: The fields that its requests have.
    """
    names = sorted(fields.model_fields)

    async def answer(request: Request, error: Exception) -> Response:
        return respond(request, problem_of(error))

    async def answer_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return respond(request, _problem_of_request(request, error.errors(), names))

    async def drop(request: Request, error: Exception) -> Response:
        return Response(status_code=CLIENT_CLOSED_REQUEST)

    app.add_exception_handler(HTTPException, answer)
    app.add_exception_handler(ImageError, answer)
    app.add_exception_handler(RequestValidationError, answer_invalid)
    app.add_exception_handler(ClientDisconnect, drop)


def respond(request: Request, problem: Problem) -> Response:
    """The answer that tells of a problem; the request's log entry gets its reason."""
    request.state.reason = problem.reason
    content = {**problem.members(), "request_id": getattr(request.state, "request_id", "")}
    return JSONResponse(content, problem.status_code, problem.headers, MEDIA_TYPE)


def _problem_of_request(request: Request, errors: Sequence[Any], names: Sequence[str]) -> Problem:
    place, *_ = errors[0]["loc"]
    if place == "body":
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            return unsupported_type(
                f"Send application/json, not {ascii(kind) if kind else 'an undeclared type'}."
            )
        if errors[0]["type"] in ("json_invalid", "missing"):
            return bad_request("json", "The body is not JSON; send an object.")
    status = HTTPStatus.UNPROCESSABLE_ENTITY if place == "body" else HTTPStatus.BAD_REQUEST
    return problem_of_fields([{**one, "loc": one["loc"][1:]} for one in errors], names, status)
