"""What the classifier is asked and answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from porcelain.bundle import TaskMetrics
from porcelain.conformal import DEFAULT_COVERAGE, LARGEST_COVERAGE, LEAST_COVERAGE
from porcelain.preparation import ResizeRule
from porcelain.similar import LARGEST_COUNT
from services.schemas import LabelNames, Model, ProblemDetails, Schema

DEFAULT_TOP_K = 3

Probability = Annotated[float, Field(ge=0, le=1)]


class ClassifyOptions(BaseModel):
    """What a caller may ask for; each option may stand in the query or in the form."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    top_k: int = Field(
        DEFAULT_TOP_K, ge=1, le=50, description="How many candidates to list per task."
    )
    explain: bool = Field(
        False,
        description="Add, per task, a picture of what spoke for the label. It takes about a "
        "hundred times as long as the answer.",
    )
    label_sets: bool = Field(
        False,
        description="Add, per task, the labels among which the true one is with the chance given "
        "as coverage. 400 where the bundle was not calibrated for it.",
    )
    coverage: float = Field(
        DEFAULT_COVERAGE,
        ge=LEAST_COVERAGE,
        le=LARGEST_COVERAGE,
        allow_inf_nan=False,
        description="Of the label sets; given alone, it asks for them.",
    )
    similar: int = Field(
        0,
        ge=0,
        le=LARGEST_COUNT,
        description="How many training pictures to list that are most like this one, with their "
        "labels. 400 where the bundle keeps no index of them.",
    )
    watermark: bool = Field(
        False,
        description="Also look for the invisible watermark of generated pictures, and warn. It "
        "takes about as long as the answer, and longer for a large picture.",
    )
    known: str = Field(
        "",
        description="What is known of the piece, as task:label between commas. These tasks are "
        "answered with the fact, and the others' probabilities move as the labels occurred "
        "together in training. 400 where a task or label is unknown: the valid ones are listed.",
        examples=["dynasty:ming,kiln:jingdezhen"],
    )

    @property
    def wanted_coverage(self) -> float | None:
        """Of the label sets; None where none are asked for."""
        given = self.model_fields_set
        wanted = self.label_sets if "label_sets" in given else "coverage" in given
        return self.coverage if wanted else None


class Image(Schema):
    """What was decoded; width and height are those of the upright picture."""

    width: int
    height: int
    format: str = Field(examples=["JPEG"])


class Candidate(Schema):
    """A label and its calibrated probability."""

    label: str
    probability: Probability


class Prediction(Schema):
    """The answer to one task."""

    label: str
    probability: Probability
    abstained: bool = Field(
        description="The probability is under the task's threshold: ask a person. What the others "
        "are worth, /v1/model says: selective_accuracy, selective_confidence, abstention_caveats."
    )
    none_of_these: bool | None = Field(
        default=None,
        description="Whether the picture may show a label that the model does not know: it is "
        "less sure of its answer than of 95 % of pictures whose label it knows. Null where the "
        "bundle cannot tell, or facts were sent.",
    )
    top: list[Candidate] = Field(description="Of a known task: what the picture alone says.")
    known: bool | None = Field(
        default=None, description="True: the label is the fact that was sent, of probability 1."
    )
    model_probability: Probability | None = Field(
        default=None, description="Of a known task: what the picture alone gives the fact."
    )
    conflict: bool | None = Field(
        default=None, description="Of a known task: whether the picture speaks strongly against it."
    )
    note: str | None = Field(default=None, description="Of a conflict: one sentence on it.")


class InDomain(Schema):
    """Whether the picture is like those of training."""

    value: bool = Field(description="False: do not rely on the labels, this may be no porcelain.")
    score: float = Field(description="Likeness to the training pictures, at most 1.")


class LabelSets(Schema):
    """Labels among which the true one is with the stated chance.

    It holds over all pictures, and within each class that had enough pictures to calibrate with.
    """

    coverage: float
    labels: dict[str, list[str]] = Field(description="By task, the most probable first.")


class SimilarPicture(Schema):
    """A training picture that the picture is like."""

    file_name: str = Field(description="As in the metadata.csv of the training pictures.")
    object_id: str | None = None
    labels: dict[str, str] = Field(description="By task; unknown ones are left out.")
    similarity: float = Field(
        ge=-1,
        le=1,
        description="Cosine between the features, seen from the training pictures'"
        " mean; 1: the same.",
    )
    synthetic: bool = Field(description="Whether a model made it.")
    source: str | None = None
    license: str | None = None
    credit_line: str | None = None
    thumbnail: str | None = Field(
        default=None, description="JPEG data URI, where the bundle holds a copy that may be shared."
    )


class UnusualCombination(Schema):
    """Two answers that never occurred together in training, though each is common."""

    labels: dict[str, str] = Field(description="The two by task.")
    note: str = Field(description="One sentence on it.")


class Classified(Schema):
    """The answer about one picture."""

    image: Image
    predictions: dict[str, Prediction] = Field(description="By task.")
    unusual_combination: UnusualCombination | None = Field(
        default=None, description="Look here first: one of the two is probably wrong."
    )
    in_domain: InDomain | None = Field(default=None, description="Where the bundle can say.")
    label_sets: LabelSets | None = Field(default=None, description="Where asked for.")
    similar: list[SimilarPicture] | None = Field(
        default=None,
        description="Where asked for: the training pictures it is most like, the best first, one "
        "of each object.",
    )
    explanation: dict[str, str] | None = Field(
        default=None,
        description="Per task, a PNG data URI: the picture with what spoke for the label.",
    )
    warnings: list[str] | None = Field(
        default=None,
        description="What to know before the answer is relied on: the picture is synthetic.",
    )


class ClassifyAnswer(Classified):
    """The answer of /v1/classify."""

    model: Model


class Failed(Schema):
    """A picture of a batch that could not be used."""

    error: ProblemDetails


class ObjectClassified(Schema):
    """The answer about an object that several pictures may show."""

    object: str
    pictures: list[int] = Field(description="Places of the pictures it rests on, from 0.")
    predictions: dict[str, Prediction] = Field(
        description="By task, from the mean of the pictures' log-probabilities."
    )


class ObjectFailed(Schema):
    """An object none of whose pictures could be used."""

    object: str
    error: ProblemDetails


class BatchAnswer(Schema):
    """The answer of /v1/classify_batch: one entry per picture, in order."""

    model: Model
    results: list[Classified | Failed]
    objects: list[ObjectClassified | ObjectFailed] | None = Field(
        default=None, description="One entry per object, where pictures name theirs."
    )


class Preprocessing(Schema):
    """How a picture becomes the model's input."""

    input_size: int
    resize: ResizeRule
    formats: list[str]


class Limits(Schema):
    """What one request may hold."""

    max_bytes: int
    max_pixels: int
    max_batch: int
    max_batch_bytes: int
    max_top_k: int


class ModelAnswer(Schema):
    """The answer of /v1/model."""

    model: Model
    created: datetime
    code_version: str
    dataset_digest: str
    backbone: str
    labels: dict[str, list[str]] = Field(description="Per task, in index order.")
    metrics: dict[str, TaskMetrics]
    abstention_thresholds: dict[str, float]
    selective_accuracy: float = Field(
        description="Accuracy of answers that are not abstained from, in tasks without a caveat."
    )
    selective_confidence: float | None = Field(
        description="The confidence with which they have it; null where the bundle states none."
    )
    abstention_caveats: dict[str, str] = Field(
        description="By task whose threshold guarantees no accuracy: why."
    )
    in_domain_threshold: float | None = Field(
        description="The least likeness of in_domain; null where the bundle cannot say."
    )
    label_sets: bool = Field(description="Whether label sets can be asked for.")
    similar: bool = Field(description="Whether similar training pictures can be asked for.")
    known: bool = Field(description="Whether facts can be sent.")
    names: dict[str, dict[str, LabelNames]] = Field(
        description="What people call the labels: by task and label."
    )
    temperatures: dict[str, float]
    preprocessing: Preprocessing
    limits: Limits
