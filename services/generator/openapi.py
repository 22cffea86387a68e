"""The OpenAPI 3.1 document: exactly the routes and statuses that the service has."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel

from porcelain.bundle import GeneratorInfo
from porcelain.synthetic_picture import MEDIA_TYPES
from porcelain.vocabulary import TASKS
from services.asgi import JSON
from services.generator.answers import ZIP
from services.generator.schemas import GenerateAnswer, GenerateRequest, ModelAnswer
from services.generator.settings import GeneratorSettings
from services.openapi import Json, Operations, json_of
from services.schemas import Problem

_MODELS: tuple[type[BaseModel], ...] = (GenerateAnswer, ModelAnswer, Problem)
_STATUSES: Final = (400, 406, 408, 409, 413, 415, 422, 429, 500, 503)

_WHY: Final = {
    400: "The body is not JSON.",
    406: "The Accept header names no media type of an answer.",
    409: "Training never saw this combination of labels, and 'allow_unseen' is not true.",
    413: "The body has more bytes than the limit allows.",
    415: "A content type other than application/json.",
    422: "A field is unknown, of a wrong type or out of bounds, or a label is unknown.",
}


def build_document(info: GeneratorInfo, settings: GeneratorSettings, keys: bool) -> Json:
    """Describe the service of a bundle; `keys` adds bearer authentication."""
    operations = Operations(keys, _WHY)
    paths = {
        "/v1/generate": {
            "post": {
                **operations.operation(
                    "generate",
                    "Make synthetic pictures of vessels with these labels",
                    _answers(),
                    _STATUSES,
                    protected=True,
                ),
                "requestBody": {
                    "required": True,
                    "content": {JSON: {"schema": _request(info, settings)}},
                },
            }
        },
        "/v1/model": {
            "get": operations.operation(
                "model", "What is served", json_of(ModelAnswer), protected=True
            ),
        },
    }
    return operations.document(
        "Porcelain generator",
        "Makes pictures of porcelain from labels. Every picture says that it is synthetic (IPTC "
        "DigitalSourceType in XMP, and PNG text chunks). The same seed and request give the same "
        "picture. Every error is application/problem+json (RFC 9457).",
        paths,
        _MODELS,
    )


def _answers() -> Json:
    """What a success may be, by Accept."""
    binary = {"type": "string", "format": "binary"}
    pictures = {
        kind: {"schema": {**binary, "description": "With count 1, the picture itself."}}
        for kind in MEDIA_TYPES.values()
    }
    folder = {"schema": {**binary, "description": "A dataset folder: pictures and metadata.csv."}}
    return {**json_of(GenerateAnswer), **pictures, ZIP: folder}


def _request(info: GeneratorInfo, settings: GeneratorSettings) -> Json:
    """The request's schema, with this bundle's labels and this service's bounds."""
    schema: Json = GenerateRequest.model_json_schema()
    fields = schema["properties"]
    for task in TASKS:
        known: list[str | None] = [*info.labels.get(task, []), None]
        fields[task] = {"enum": known, "default": None}
    fields["count"]["maximum"] = settings.count_limit
    for name, most, default in (
        ("steps", settings.max_steps, info.sampling.steps),
        ("guidance_scale", settings.max_guidance_scale, info.sampling.guidance_scale),
    ):
        fields[name]["anyOf"][0]["maximum"] = most
        fields[name]["examples"] = [default]
    return schema
