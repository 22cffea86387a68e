"""The OpenAPI 3.1 document: exactly the routes and statuses that the service has."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel

from porcelain.conformal import DEFAULT_COVERAGE, LARGEST_COVERAGE, LEAST_COVERAGE
from porcelain.similar import LARGEST_COUNT
from services.classifier.classifying import DEFAULT_TOP_K
from services.classifier.schemas import BatchAnswer, ClassifyAnswer, ModelAnswer
from services.classifier.settings import ClassifierSettings
from services.forms import MAX_FIELD_BYTES, MULTIPART
from services.openapi import Json, Operations, json_of
from services.schemas import Problem

_ANSWERS: tuple[type[BaseModel], ...] = (ClassifyAnswer, BatchAnswer, ModelAnswer, Problem)

_WHY: Final = {
    400: "A field is missing, an option has an impossible value, or the form is malformed.",
    413: "More bytes, pixels or pictures than the limits allow.",
    415: "A content type, or an image format, that is not read.",
    422: "The picture is empty, corrupt or truncated.",
}


def build_document(settings: ClassifierSettings, keys: bool) -> Json:
    """Describe the service with these settings; `keys` adds bearer authentication."""
    operations = Operations(keys, _WHY)
    work = [400, 408, 413, 415, 429, 500, 503]
    paths = {
        "/v1/classify": {"post": _classify(operations, settings, [*work, 422])},
        "/v1/classify_batch": {"post": _classify_batch(operations, settings, work)},
        "/v1/model": {
            "get": operations.operation(
                "model", "What is served", json_of(ModelAnswer), protected=True
            ),
        },
    }
    return operations.document(
        "Porcelain classifier",
        "Answers dynasty, glaze, kiln and type of a photographed vessel. Every error is "
        "application/problem+json (RFC 9457). Pictures are decoded by their content; URLs and "
        "paths are never fetched.",
        paths,
        _ANSWERS,
    )


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
            "description": "Add, per task, a picture of what spoke for the label. It takes about a "
            "hundred times as long as the answer.",
        },
        "label_sets": {
            "type": "boolean",
            "default": False,
            "description": "Add, per task, the labels among which the true one is with the chance "
            "given as coverage. 400 where the bundle was not calibrated for it.",
        },
        "coverage": {
            "type": "number",
            "minimum": LEAST_COVERAGE,
            "maximum": LARGEST_COVERAGE,
            "default": DEFAULT_COVERAGE,
            "description": "Of the label sets; given alone, it asks for them.",
        },
        "similar": {
            "type": "integer",
            "minimum": 0,
            "maximum": LARGEST_COUNT,
            "default": 0,
            "description": "How many training pictures to list that are most like this one, with "
            "their labels. 400 where the bundle keeps no index of them.",
        },
        "watermark": {
            "type": "boolean",
            "default": settings.check_watermark,
            "description": "Also look for the invisible watermark of generated pictures, and warn. "
            "It takes about as long as the answer, and longer for a large picture.",
        },
    }


def _query(settings: ClassifierSettings) -> list[Json]:
    return [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in _option_schemas(settings).items()
    ]


def _form(settings: ClassifierSettings, required: str, fields: Json) -> Json:
    return {
        "schema": {
            "type": "object",
            "required": [required],
            "properties": {**fields, **_option_schemas(settings)},
            "additionalProperties": False,
        }
    }


def _classify(operations: Operations, settings: ClassifierSettings, statuses: list[int]) -> Json:
    picture = {
        "type": "string",
        "format": "binary",
        "description": f"The file's content, at most {settings.max_bytes:,} bytes and "
        f"{settings.max_pixels:,} pixels.",
    }
    return {
        **operations.operation(
            "classify", "Answer one picture", json_of(ClassifyAnswer), statuses, protected=True
        ),
        "parameters": _query(settings),
        "requestBody": {
            "required": True,
            "content": {
                MULTIPART: _form(settings, "image", {"image": picture}),
                "image/*": {"schema": picture},
            },
        },
    }


def _classify_batch(
    operations: Operations, settings: ClassifierSettings, statuses: list[int]
) -> Json:
    fields = {
        "images": {
            "type": "array",
            "minItems": 1,
            "maxItems": settings.max_batch,
            "items": {"type": "string", "format": "binary"},
        },
        "object": {
            "type": "array",
            "maxItems": settings.max_batch,
            "items": {"type": "string", "maxLength": MAX_FIELD_BYTES},
            "description": "The field once for each picture, in their order: what it shows, or "
            "blank. Pictures of one object are also answered together, under objects.",
        },
    }
    return {
        **operations.operation(
            "classify_batch",
            "Answer several pictures, and objects that several show; a bad picture is an error "
            "entry in its place",
            json_of(BatchAnswer),
            statuses,
            protected=True,
        ),
        "parameters": _query(settings),
        "requestBody": {
            "required": True,
            "content": {MULTIPART: _form(settings, "images", fields)},
        },
    }
