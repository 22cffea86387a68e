"""RFC 9457 problem details: how every service says that it cannot answer, and what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from porcelain.errors import ImageError, PorcelainError

MEDIA_TYPE = "application/problem+json"
FULL = "full"
"""Reason of a 429 that only more replicas would spare the caller."""
RATE_LIMIT = "rate_limit"
"""Reason of a 429 that the caller brings on itself."""


class Problem(PorcelainError):  # noqa: N818 - the name of RFC 9457
    """An answer other than success.

    Attributes:
        http_status: The HTTP status.
        reason: Short, stable name for programs and metrics, from a bounded set.
        detail: One sentence that tells the caller what to do.
        headers: Extra response headers, such as `Retry-After`.
    """

    def __init__(
        self,
        http_status: HTTPStatus,
        reason: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.http_status = http_status
        self.reason = reason
        self.detail = detail
        self.headers = dict(headers or {})

    def members(self) -> dict[str, str | int]:
        """The members of the problem object (RFC 9457, section 3.1)."""
        return {
            "type": f"urn:porcelain:problem:{self.reason}",
            "title": self.http_status.phrase,
            "status": int(self.http_status),
            "detail": self.detail,
        }

    def body(self, request_id: str) -> bytes:
        """The problem as JSON; `request_id` finds the request in the logs."""
        return json.dumps({**self.members(), "request_id": request_id}).encode()


def problem_of(error: Exception) -> Problem:
    """The problem that answers `error`; anything that no caller causes is a plain 500."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ImageError):
        return Problem(HTTPStatus(error.status), error.reason, str(error))
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal",
        "The service failed on this request; send it again, and report the request id if it "
        "fails once more.",
    )


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
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "not_ready",
        "The model is not ready yet; ask /readyz and send the request again when it answers 200.",
        {"Retry-After": "1"},
    )
