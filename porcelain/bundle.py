"""Bundles: what training hands to serving. A folder of plain files with digests, no pickle.

Loading verifies that every file is listed, unaltered and of an allowed kind, before any of it is
parsed.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from porcelain import __version__
from porcelain.errors import BundleError, UserError
from porcelain.files import sha256_bytes, sha256_file, write_text
from porcelain.label_prior import Combination as Combination
from porcelain.label_prior import KnownFacts
from porcelain.preparation import ResizeRule

SCHEMA_VERSION: Final = 2
"""What this version writes. It reads version 1 too, whose abstention thresholds state no
confidence."""
MANIFEST_FILE = "bundle.json"
ALLOWED_SUFFIXES = frozenset({".onnx", ".safetensors", ".json", ".yaml", ".png"})

CLASSIFIER_MODEL_FILE = "model.onnx"
LORA_FILE = "lora/pytorch_lora_weights.safetensors"
HELD_OUT_MODEL_FILE = "held-out/model.onnx"
"""The graph that has not learned from the test pictures, where `model.onnx` has: the one that the
bundle's metrics, temperatures and thresholds were measured on."""

SPLIT_FILE = "split.json"
NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9._-]*$"


class Interval(BaseModel):
    """A measured value with the ends of its 95 % confidence interval."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    low: float
    high: float


class TaskMetrics(BaseModel):
    """How one task did on the test split, over known labels only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    support: int
    f1_macro: Interval
    balanced_accuracy: Interval
    accuracy: Interval
    expected_calibration_error: float
    log_loss: float | None = None


class RenderedPictures(BaseModel):
    """Rendered vessels that a classifier has learned from beside its photographs.

    Attributes:
        share: Of what each model that sees them learns from.
        left_blank: Tasks whose labels they did not carry.
        models: How many of them each of the served models has learned from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float
    left_blank: list[str]
    models: list[int]


class ClassifierInfo(BaseModel):
    """What serving a classifier needs to know beside its ONNX graph.

    Attributes:
        labels: Slugs per task in the index order of the task's output.
        label_counts: Training pictures per label: what drift is later measured against.
        input_size: Side of the square uint8 NHWC input in pixels.
        resize: How a picture fills that square.
        backbone: timm's model name.
        temperatures: Softmax temperature per task, already applied inside the graph.
        abstention_thresholds: Per task, the probability under which the service abstains.
        selective_accuracy: The accuracy that answers above the threshold have, or, in a task with a
            caveat, are meant to have.
        selective_confidence: The chance, over validation sets, that they have it; None in bundles
            whose thresholds were chosen without a bound.
        abstention_caveats: By task whose threshold carries no guarantee, one sentence that says
            why.
        none_of_these_thresholds: Per task, the greatest probability under which a picture may show
            none of the labels; 95 % of pictures whose label is known reach it. Tasks with fewer
            than 19 validation pictures have none.
        activation_grid: Height and width of the maps that explain an answer.
        metrics: Results on the test part, of the graph that did not learn from it
            (`Bundle.measured_graph`); empty where there was none.
        in_domain_threshold: The least score of `porcelain.domain` that counts as porcelain like
            the training pictures; None in bundles that do not know it.
        conformity: Per task and label, the scores that `porcelain.conformal` makes label sets
            from; empty in bundles that have none.
        rendered: Rendered vessels that it has learned from, in training alone; None where none.
        known_facts: What `porcelain.label_prior` answers from where labels are known already;
            None in bundles that cannot use facts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: dict[str, list[str]]
    label_counts: dict[str, dict[str, int]]
    input_size: int
    resize: ResizeRule
    backbone: str
    temperatures: dict[str, float]
    abstention_thresholds: dict[str, float]
    selective_accuracy: float
    selective_confidence: float | None = None
    abstention_caveats: dict[str, str] = {}
    none_of_these_thresholds: dict[str, float] = {}
    activation_grid: tuple[int, int]
    metrics: dict[str, TaskMetrics] = {}
    in_domain_threshold: float | None = None
    conformity: dict[str, dict[str, list[float]]] = {}
    known_facts: KnownFacts | None = None
    rendered: RenderedPictures | None = None

    def abstention_caveat(self, task: str) -> str | None:
        """Why a task's threshold guarantees no accuracy; None where it does."""
        if self.selective_confidence is None:
            return "The threshold was chosen without a confidence bound; train again for one."
        return self.abstention_caveats.get(task)


class BaseModelReference(BaseModel):
    """The Stable Diffusion model that a LoRA was trained on.

    Attributes:
        reference: A hub id, a folder, or the name of a base that ships in `models/`.
        revision: The hub's commit, where it came from there.
        digest: SHA-256 over the weights' digests (`sampling.base.digest_of`): the LoRA fits
            exactly this base.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reference: str
    revision: str | None = None
    digest: str


class SamplingDefaults(BaseModel):
    """How pictures are sampled unless a request says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: Annotated[int, Field(ge=1, le=1000)]
    guidance_scale: Annotated[float, Field(ge=0, le=50)]
    width: Annotated[int, Field(ge=8)]
    height: Annotated[int, Field(ge=8)]


class GeneratorInfo(BaseModel):
    """What sampling needs to know beside the LoRA's weights.

    Attributes:
        base: What the LoRA is loaded into.
        prompt_template: See `porcelain.prompts.DEFAULT_TEMPLATE`; filled from the bundle's
            `taxonomy.yaml`.
        labels: Slugs per task that occurred in training, sorted.
        combinations: Which labels occurred together, the most frequent first.
        rank: Of the LoRA's matrices.
        alpha: LoRA's scale is alpha / rank.
        text_encoder: Whether the text encoder has an adapter too.
        sampling: Defaults for sampling.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: BaseModelReference
    prompt_template: str
    labels: dict[str, list[str]]
    combinations: list[Combination]
    rank: Annotated[int, Field(ge=1)]
    alpha: Annotated[float, Field(gt=0)]
    text_encoder: bool = False
    sampling: SamplingDefaults


class Manifest(BaseModel):
    """The content of `bundle.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    kind: Literal["classifier", "generator"]
    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    version: str
    created: datetime
    code_version: str
    dataset_digest: str
    files: dict[str, str]
    classifier: ClassifierInfo | None = None
    generator: GeneratorInfo | None = None

    def digest(self) -> str:
        """SHA-256 over the files' digests: one name for exactly this model."""
        return sha256_bytes(json.dumps(self.files, sort_keys=True).encode())


class Bundle(BaseModel):
    """A verified bundle: where it is, and what its manifest says."""

    model_config = ConfigDict(frozen=True)

    path: Path
    manifest: Manifest

    @property
    def classifier(self) -> ClassifierInfo:
        """The classifier's part of the manifest.

        Raises:
            BundleError: The bundle holds something else.
        """
        if self.manifest.classifier is None:
            raise BundleError(f"{self.path} is a {self.manifest.kind} bundle, not a classifier.")
        return self.manifest.classifier

    @property
    def generator(self) -> GeneratorInfo:
        """The generator's part of the manifest.

        Raises:
            BundleError: The bundle holds something else.
        """
        if self.manifest.generator is None:
            raise BundleError(f"{self.path} is a {self.manifest.kind} bundle, not a generator.")
        return self.manifest.generator

    @property
    def measured_graph(self) -> str:
        """The graph that learned from the training part alone: the one to judge on the rest."""
        held_out = HELD_OUT_MODEL_FILE in self.manifest.files
        return HELD_OUT_MODEL_FILE if held_out else CLASSIFIER_MODEL_FILE


def check_name(name: str) -> None:
    """Refuse a model's name that a manifest cannot hold, before there is work to lose.

    Raises:
        UserError: It has other characters.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise UserError(
            f"--name {name!r} is not possible; use lower-case letters, digits, dots, dashes and "
            "underscores."
        )


def write_manifest(
    folder: Path,
    *,
    kind: Literal["classifier", "generator"],
    name: str,
    dataset_digest: str,
    classifier: ClassifierInfo | None = None,
    generator: GeneratorInfo | None = None,
) -> Manifest:
    """Digest every file in `folder` and write its `bundle.json`.

    Raises:
        BundleError: The folder holds a file of a kind that bundles may not hold.
    """
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        relative = path.relative_to(folder).as_posix()
        if relative == MANIFEST_FILE:
            continue
        _check_suffix(relative, folder)
        files[relative] = sha256_file(path)
    created = datetime.now(UTC)
    manifest = Manifest(
        kind=kind,
        name=name,
        version=created.strftime("%Y%m%d%H%M%S"),
        created=created,
        code_version=__version__,
        dataset_digest=dataset_digest,
        files=files,
        classifier=classifier,
        generator=generator,
    )
    write_text(folder / MANIFEST_FILE, manifest.model_dump_json(indent=2) + "\n")
    return manifest


def load_bundle(path: Path, kind: Literal["classifier", "generator"]) -> Bundle:
    """Read and verify a bundle folder.

    Raises:
        BundleError: Not a bundle, another kind or schema, or a file that is missing, altered,
            not listed, or of a kind that may carry code.
    """
    manifest = _read_manifest(path)
    if manifest.kind != kind:
        raise BundleError(f"{path} is a {manifest.kind} bundle; give a {kind} bundle.")
    present = {
        p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file() or p.is_symlink()
    }
    for name in sorted(present - {MANIFEST_FILE}):
        _check_suffix(name, path)
        if name not in manifest.files:
            raise BundleError(f"{path} holds {name}, which its {MANIFEST_FILE} does not list.")
    for name, digest in manifest.files.items():
        _check_suffix(name, path)
        if name not in present or not (path / name).resolve().is_relative_to(path.resolve()):
            raise BundleError(f"{path} lacks {name}; copy the whole bundle folder again.")
        if sha256_file(path / name) != digest:
            raise BundleError(
                f"{path / name} is not what {MANIFEST_FILE} promises (SHA-256 differs); "
                "copy the bundle again or train anew."
            )
    return Bundle(path=path, manifest=manifest)


def _read_manifest(path: Path) -> Manifest:
    file = path / MANIFEST_FILE
    if not file.is_file():
        raise BundleError(f"{path} is not a bundle: it has no {MANIFEST_FILE}.")
    try:
        content: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{file} is not readable JSON: {error}") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version not in (1, SCHEMA_VERSION):
        raise BundleError(
            f"{file} has schema version {version!r}; this porcelain {__version__} reads "
            f"versions 1 and {SCHEMA_VERSION}."
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{file} is not valid: {place}: {first['msg']}") from error


def _check_suffix(name: str, folder: Path) -> None:
    if Path(name).suffix not in ALLOWED_SUFFIXES:
        raise BundleError(
            f"{folder} holds {name}; a bundle holds only "
            + ", ".join(sorted(ALLOWED_SUFFIXES))
            + "."
        )
