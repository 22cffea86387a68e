"""What the generator says of itself: its model, and the labels that it can be asked for."""

from __future__ import annotations

from typing import Any, Final

from porcelain.bundle import Bundle, GeneratorInfo
from porcelain.synthetic_picture import MEDIA_TYPES
from services.generator.answers import JSON, ZIP
from services.generator.planning import Planner
from services.generator.schemas import Adapter, GenerateRequest, Limits, ModelAnswer
from services.generator.settings import GeneratorSettings
from services.schemas import label_names, model_of

Json = dict[str, Any]
_BINARY: Final = {"type": "string", "format": "binary"}

ANSWERS: Final[Json] = {
    "description": "The pictures, by Accept: as JSON, the one picture itself, or a dataset folder.",
    "content": {
        JSON: {},
        **{
            kind: {"schema": {**_BINARY, "description": "With count 1, the picture itself."}}
            for kind in MEDIA_TYPES.values()
        },
        ZIP: {"schema": {**_BINARY, "description": "A dataset folder with metadata.csv."}},
    },
}
"""What a success may be, beside JSON."""


def describe(bundle: Bundle, settings: GeneratorSettings) -> ModelAnswer:
    """The answer of /v1/model."""
    info, manifest = bundle.generator, bundle.manifest
    return ModelAnswer(
        model=model_of(manifest),
        created=manifest.created,
        code_version=manifest.code_version,
        dataset_digest=manifest.dataset_digest,
        base=info.base,
        lora=Adapter(rank=info.rank, alpha=info.alpha, text_encoder=info.text_encoder),
        prompt_template=info.prompt_template,
        labels=info.labels,
        names=label_names(bundle.path, info.labels),
        combinations=info.combinations,
        sampling=info.sampling,
        formats=list(MEDIA_TYPES),
        limits=Limits(
            max_count=settings.count_limit,
            max_steps=settings.max_steps,
            max_guidance_scale=settings.max_guidance_scale,
            max_waiting=settings.max_waiting,
            max_batch=settings.max_batch,
        ),
    )


def describe_labels(
    document: Json, planner: Planner, info: GeneratorInfo, settings: GeneratorSettings
) -> None:
    """Put this bundle's labels and this service's bounds into the request's schema.

    Args:
        document: The OpenAPI document, which is changed.
        planner: Knows the tasks.
        info: Of the bundle.
        settings: Of the service.
    """
    schema = document["components"]["schemas"][GenerateRequest.__name__]
    fields = schema["properties"]
    labels = {
        task: {"enum": [*info.labels.get(task, []), None], "default": None}
        for task in planner.tasks
    }
    schema["properties"] = {**labels, **fields}
    schema["additionalProperties"] = False
    fields["count"]["maximum"] = settings.count_limit
    for name, most, default in (
        ("steps", settings.max_steps, info.sampling.steps),
        ("guidance_scale", settings.max_guidance_scale, info.sampling.guidance_scale),
    ):
        fields[name]["anyOf"][0]["maximum"] = most
        fields[name]["examples"] = [default]
