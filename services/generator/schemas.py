"""What the generator is asked and answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from porcelain.bundle import BaseModelReference, Combination, SamplingDefaults
from porcelain.synthetic_picture import PictureFormat
from services.schemas import LabelNames, Model, Schema

LARGEST_SEED = 2**53 - 1
"""The largest whole number that every JSON reader keeps exactly."""


def _whole(value: object) -> object:
    """8.0 is an integer to JSON, and so to JSON Schema."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]


class GenerateRequest(BaseModel):
    """The body of /v1/generate, with a field for the label of each task.

    A label that is left out, null or blank is not asked for.
    """

    # What else there is are labels: the tasks are the bundle's, which checks them.
    model_config = ConfigDict(frozen=True, extra="allow", strict=True)
    __pydantic_extra__: dict[str, Any]

    count: Whole = Field(1, ge=1, description="How many pictures.")
    seed: Whole | None = Field(
        None,
        ge=0,
        le=LARGEST_SEED,
        description="Of the first picture; the next ones count up from it. Random if left out.",
    )
    steps: Whole | None = Field(None, ge=1, description="Of the sampler; the bundle's if left out.")
    guidance_scale: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="How closely to follow the labels; the bundle's if left out, none up to 1.",
    )
    format: PictureFormat | None = Field(None, description="png if left out.")
    allow_unseen: bool = Field(
        False, description="Make combinations of labels that training never saw together."
    )


class Picture(Schema):
    """One synthetic picture."""

    seed: int = Field(description="Asked for alone, with the rest equal, it gives this picture.")
    prompt: str
    labels: dict[str, str | None] = Field(description="By task; null where not asked for.")
    steps: int
    guidance_scale: float
    width: int
    height: int
    media_type: str
    data: str = Field(description="The file, base64; it carries the mark of a synthetic picture.")


class GenerateAnswer(Schema):
    """The answer of /v1/generate as JSON."""

    model: Model
    images: list[Picture]


class Adapter(Schema):
    """The LoRA."""

    rank: int
    alpha: float
    text_encoder: bool


class Limits(Schema):
    """What may be asked for."""

    max_count: int
    max_steps: int
    max_guidance_scale: float
    max_waiting: int = Field(description="Pictures.")
    max_batch: int = Field(description="Pictures denoised at a time.")


class ModelAnswer(Schema):
    """The answer of /v1/model."""

    model: Model
    created: datetime
    code_version: str
    dataset_digest: str
    base: BaseModelReference
    lora: Adapter
    prompt_template: str
    labels: dict[str, list[str]] = Field(description="That occurred in training, per task.")
    names: dict[str, dict[str, LabelNames]] = Field(
        description="What people call the labels: by task and label."
    )
    combinations: list[Combination] = Field(description="Labels that training saw together.")
    sampling: SamplingDefaults
    formats: list[str]
    limits: Limits
