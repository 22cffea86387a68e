"""The OpenAPI 3.1 document: exactly the routes and statuses that the service has."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from porcelain import __version__
from services.classifier.classifying import DEFAULT_TOP_K
from services.classifier.schemas import BatchAnswer, ClassifyAnswer, ModelAnswer, Problem
from services.classifier.settings import ClassifierSettings
from services.forms import MULTIPART
from services.problems import MEDIA_TYPE

Json = dict[str, Any]
_ANSWERS: tuple[type[BaseModel], ...] = (ClassifyAnswer, BatchAnswer, ModelAnswer, Problem)
_REFERENCE = "#/components/schemas/{model}"

_WHY = {
    400: "A field is missing, an option has an impossible value, or the form is malformed.",
    401: "A bearer key is needed.",
    404: "There is no such route.",
    405: "The route has another method.",
    408: "The body took too long to arrive.",
    413: "More bytes, pixels or pictures than the limits allow.",
    415: "A content type, or an image format, that is not read.",
    422: "The picture is empty, corrupt or truncated.",
    429: "As much is in progress as may be; Retry-After says when to come back.",
    500: "A fault of the service.",
    503: "The model is not ready yet.",
}


def build_document(settings: ClassifierSettings, keys: bool) -> Json:
    """Describe the service with these settings; `keys` adds bearer authentication."""
    _, definitions = models_json_schema(
        [(model, "serialization") for model in _ANSWERS], ref_template=_REFERENCE
    )
    work = [400, 408, 413, 415, 429, 500, 503]
    paths = {
        "/v1/classify": {"post": _classify(settings, [*work, 422], keys)},
        "/v1/classify_batch": {"post": _classify_batch(settings, work, keys)},
        "/v1/model": {
            "get": _operation("model", "What is served", _json(ModelAnswer), [], keys),
        },
        "/livez": {"get": _operation("livez", "Whether the process lives", _text(), [])},
        "/readyz": {"get": _operation("readyz", "Whether requests may be sent", _text(), [503])},
        "/metrics": {"get": _operation("metrics", "Prometheus metrics", _text(), [])},
        "/openapi.json": {
            "get": _operation("openapi", "This document", {"application/json": {}}, []),
        },
    }
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "Porcelain classifier",
            "version": __version__,
            "description": "Answers dynasty, glaze, kiln and type of a photographed vessel. Every "
            "error is application/problem+json (RFC 9457). Pictures are decoded by their content; "
            "URLs and paths are never fetched.",
        },
        "paths": paths,
        "components": {"schemas": definitions["$defs"]},
    }
    if keys:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return document


def _option_schemas(settings: ClassifierSettings) -> Json:
    return {
        "top_k": {
            "type": "integer",
            "minimum": 1,
            "maximum": settings.max_top_k,
            "default": min(DEFAULT_TOP_K, settings.max_top_k),
            "description": "How many candidates to list per task.",
        },
        "explain": {
            "type": "boolean",
            "default": False,
            "description": "Add, per task, a picture of what spoke for the label.",
        },
    }


def _query(settings: ClassifierSettings) -> list[Json]:
    return [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in _option_schemas(settings).items()
    ]


def _form(settings: ClassifierSettings, field: str, schema: Json) -> Json:
    properties = {field: schema, **_option_schemas(settings)}
    return {
        "schema": {
            "type": "object",
            "required": [field],
            "properties": properties,
            "additionalProperties": False,
        }
    }


def _classify(settings: ClassifierSettings, statuses: list[int], keys: bool) -> Json:
    picture = {
        "type": "string",
        "format": "binary",
        "description": f"The file's content, at most {settings.max_bytes:,} bytes and "
        f"{settings.max_pixels:,} pixels.",
    }
    return {
        **_operation("classify", "Answer one picture", _json(ClassifyAnswer), statuses, keys),
        "parameters": _query(settings),
        "requestBody": {
            "required": True,
            "content": {
                MULTIPART: _form(settings, "image", picture),
                "image/*": {"schema": picture},
            },
        },
    }


def _classify_batch(settings: ClassifierSettings, statuses: list[int], keys: bool) -> Json:
    pictures = {
        "type": "array",
        "minItems": 1,
        "maxItems": settings.max_batch,
        "items": {"type": "string", "format": "binary"},
    }
    return {
        **_operation(
            "classify_batch",
            "Answer several pictures; a bad one is an error entry in its place",
            _json(BatchAnswer),
            statuses,
            keys,
        ),
        "parameters": _query(settings),
        "requestBody": {
            "required": True,
            "content": {MULTIPART: _form(settings, "images", pictures)},
        },
    }


def _operation(
    name: str, summary: str, content: Json, statuses: list[int], keys: bool = False
) -> Json:
    if keys:
        statuses = [*statuses, 401]
    responses: Json = {"200": {"description": "The answer.", "content": content}}
    for status in sorted({*statuses, 405}):
        responses[str(status)] = _problem(status)
    operation: Json = {"operationId": name, "summary": summary, "responses": responses}
    if keys:
        operation["security"] = [{"key": []}]
    return operation


def _problem(status: int) -> Json:
    answer: Json = {
        "description": f"{HTTPStatus(status).phrase}: {_WHY[status]}",
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(model="Problem")}}},
    }
    if status in (429, 503):
        answer["headers"] = {
            "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}
        }
    return answer


def _json(model: type[BaseModel]) -> Json:
    return {"application/json": {"schema": {"$ref": _REFERENCE.format(model=model.__name__)}}}


def _text() -> Json:
    return {"text/plain": {"schema": {"type": "string"}}}
