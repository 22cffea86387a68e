"""What the OpenAPI 3.1 documents of both services share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from porcelain import __version__
from services.asgi import JSON
from services.problems import MEDIA_TYPE

Json = dict[str, Any]

_REFERENCE: Final = "#/components/schemas/{model}"
_ANY_ROUTE: Final = (400, 405, 408, 431, 503)
"""What any request may be answered before the route has it."""

_WHY: Final = {
    400: "No valid HTTP request.",
    401: "A bearer key is needed.",
    405: "The route has another method.",
    408: "The headers or the body took too long to arrive.",
    429: "As much is in progress as may be, or the caller has asked for more than it may; "
    "Retry-After says when to come back.",
    431: "The headers have more bytes than the limit allows.",
    500: "A fault of the service.",
    503: "The model is not ready yet, or too many connections are open.",
}


class Operations:
    """Describes a service's routes."""

    def __init__(self, keys: bool, why: Mapping[int, str]) -> None:
        """Describe a service.

        Args:
            keys: Whether callers need bearer keys.
            why: Per status that the service gives a meaning of its own, when it is answered.
        """
        self._keys = keys
        self._why = {**_WHY, **why}

    def operation(
        self,
        name: str,
        summary: str,
        content: Json,
        statuses: Sequence[int] = (),
        *,
        protected: bool = False,
    ) -> Json:
        """One route: the content of its success, and the statuses of its problems."""
        keyed = protected and self._keys
        responses: Json = {"200": {"description": "The answer.", "content": content}}
        refusals = {*([429] if protected else []), *([401] if keyed else [])}
        for status in sorted({*_ANY_ROUTE, *statuses, *refusals}):
            responses[str(status)] = self._problem(status)
        operation: Json = {"operationId": name, "summary": summary, "responses": responses}
        if keyed:
            operation["security"] = [{"key": []}]
        return operation

    def common(self) -> Json:
        """The routes that every service has."""
        return {
            "/livez": {"get": self.operation("livez", "Whether the process lives", _TEXT)},
            "/readyz": {"get": self.operation("readyz", "Whether requests may be sent", _TEXT)},
            "/metrics": {"get": self.operation("metrics", "Prometheus metrics", _TEXT)},
            "/openapi.json": {"get": self.operation("openapi", "This document", {JSON: {}})},
        }

    def document(
        self, title: str, description: str, paths: Json, models: Sequence[type[BaseModel]]
    ) -> Json:
        """The whole document; `models` are the schemas that `json_of` refers to."""
        _, definitions = models_json_schema(
            [(model, "serialization") for model in models], ref_template=_REFERENCE
        )
        document: Json = {
            "openapi": "3.1.0",
            "info": {"title": title, "version": __version__, "description": description},
            "paths": {**paths, **self.common()},
            "components": {"schemas": definitions["$defs"]},
        }
        if self._keys:
            document["components"]["securitySchemes"] = {
                "key": {"type": "http", "scheme": "bearer"}
            }
        return document

    def _problem(self, status: int) -> Json:
        answer: Json = {
            "description": f"{HTTPStatus(status).phrase}: {self._why[status]}",
            "content": {MEDIA_TYPE: {"schema": reference_to("Problem")}},
        }
        if status in (429, 503):
            answer["headers"] = {
                "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}
            }
        return answer


def json_of(model: type[BaseModel]) -> Json:
    """JSON content of a model's shape."""
    return {JSON: {"schema": reference_to(model.__name__)}}


def reference_to(name: str) -> Json:
    """A reference to a schema of the document."""
    return {"$ref": _REFERENCE.format(model=name)}


_TEXT: Final[Json] = {"text/plain": {"schema": {"type": "string"}}}
