"""What the classifier says of itself: its model, and the bodies that its routes take."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from porcelain.bundle import Bundle
from porcelain.errors import UserError
from porcelain.images import FORMATS
from porcelain.label_prior import parse_known
from porcelain.similar import has_index
from services.classifier.schemas import ClassifyOptions, Limits, ModelAnswer, Preprocessing
from services.classifier.settings import ClassifierSettings
from services.classifier.uploads import MAX_FIELD_BYTES, MULTIPART
from services.problems import bad_request
from services.schemas import label_names, model_of

Json = dict[str, Any]


def describe(bundle: Bundle, settings: ClassifierSettings) -> ModelAnswer:
    """The answer of /v1/model."""
    info, manifest = bundle.classifier, bundle.manifest
    return ModelAnswer(
        model=model_of(manifest),
        created=manifest.created,
        code_version=manifest.code_version,
        dataset_digest=manifest.dataset_digest,
        backbone=info.backbone,
        labels=info.labels,
        metrics=info.metrics,
        abstention_thresholds=info.abstention_thresholds,
        selective_accuracy=info.selective_accuracy,
        selective_confidence=info.selective_confidence,
        abstention_caveats={
            task: caveat for task in info.labels if (caveat := info.abstention_caveat(task))
        },
        in_domain_threshold=info.in_domain_threshold,
        label_sets=bool(info.conformity),
        similar=has_index(bundle),
        known=info.known_facts is not None,
        names=label_names(bundle.path, info.labels),
        temperatures=info.temperatures,
        preprocessing=Preprocessing(
            input_size=info.input_size, resize=info.resize, formats=list(FORMATS)
        ),
        limits=Limits(**{name: getattr(settings, name) for name in Limits.model_fields}),
    )


def check_supported(options: ClassifyOptions, model: ModelAnswer) -> None:
    """Refuse options that this bundle lacks the data for.

    Raises:
        Problem: 400, it was not calibrated for label sets, keeps no index, cannot use facts, or
            has no such task or label as a fact names.
    """
    if options.known and not model.known:
        raise bad_request(
            "option",
            "This model does not hold which labels occur together, so it cannot use facts; leave "
            "known out, or serve a bundle that was trained anew.",
        )
    try:
        parse_known(options.known, model.labels)
    except UserError as error:
        raise bad_request("option", str(error)) from error
    if options.wanted_coverage is not None and not model.label_sets:
        raise bad_request(
            "option", "This model was not calibrated for label sets; leave label_sets out."
        )
    if options.similar and not model.similar:
        raise bad_request(
            "option",
            "This model keeps no index of its training pictures; leave similar out, or serve a "
            "bundle that was trained with --similar names.",
        )


def one_picture(options: type[BaseModel], settings: ClassifierSettings) -> Json:
    """The body of /v1/classify, for the OpenAPI document: FastAPI knows one kind of body alone."""
    picture = {
        "type": "string",
        "format": "binary",
        "description": f"The file's content, at most {settings.max_bytes:,} bytes and "
        f"{settings.max_pixels:,} pixels.",
    }
    return _body(
        {MULTIPART: _form(options, "image", {"image": picture}), "image/*": {"schema": picture}}
    )


def several_pictures(options: type[BaseModel], settings: ClassifierSettings) -> Json:
    """The body of /v1/classify_batch, likewise."""
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
        "known": {
            "type": "array",
            "maxItems": settings.max_batch,
            "items": {"type": "string", "maxLength": MAX_FIELD_BYTES},
            "description": "The field once for each picture, in their order: what is known of it, "
            "such as dynasty:ming,kiln:jingdezhen, or blank.",
        },
    }
    return _body({MULTIPART: _form(options, "images", fields)})


def _body(content: Json) -> Json:
    return {"requestBody": {"required": True, "content": content}}


def _form(options: type[BaseModel], required: str, fields: Json) -> Json:
    return {
        "schema": {
            "type": "object",
            "required": [required],
            "properties": options.model_json_schema()["properties"] | fields,
            "additionalProperties": False,
        }
    }
