"""The classifier's routes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from porcelain.bundle import Bundle
from porcelain.conformal import DEFAULT_COVERAGE, LARGEST_COVERAGE, LEAST_COVERAGE
from porcelain.errors import ImageError
from porcelain.images import FORMATS
from porcelain.similar import LARGEST_COUNT, has_index
from services.asgi import Request, Response, json_response
from services.classifier.answers import Answer, Answered, object_entries, picture_entry
from services.classifier.classifying import DEFAULT_TOP_K, Classifier, Options
from services.classifier.openapi import build_document
from services.classifier.settings import ClassifierSettings
from services.forms import MULTIPART, Form, parse_form
from services.label_names import label_names
from services.pace import Pace
from services.problems import bad_request, too_large, unsupported_type
from services.rest import Route

FORM_OVERHEAD = 64 * 1024  # boundaries, part headers and option fields around the pictures
OPTION_PARTS = 8
SIDE_BY_SIDE = 8  # pictures of one batch request that wait for the model at a time
OPTIONS = {"top_k", "explain", "label_sets", "coverage", "similar", "watermark"}
REPEATED = frozenset({"object"})
_TRUE = {"true", "1", "yes", "on"}
_FALSE = {"false", "0", "no", "off"}


class ClassifierApi:
    """Turns requests into options and pictures, and answers into JSON."""

    def __init__(
        self, bundle: Bundle, settings: ClassifierSettings, classifier: Classifier, keys: bool
    ) -> None:
        """Answer for `bundle`; `keys` says whether the document asks for bearer keys."""
        manifest = bundle.manifest
        self._settings = settings
        self._classifier = classifier
        self._info = bundle.classifier
        self._has_index = has_index(bundle)
        self._pace = Pace(settings.max_wait_seconds)
        self._explain_pace = Pace(settings.max_explain_wait_seconds)
        self._model = {
            "name": manifest.name,
            "version": manifest.version,
            "digest": manifest.digest(),
        }
        self._description = json_response(_describe(bundle, settings, self._model))
        self._document = json_response(build_document(settings, keys))

    def routes(self) -> dict[str, Route]:
        """Path to route."""
        return {
            "/v1/classify": Route(
                "POST", self.classify, work=True, protected=True, check=self._may_wait
            ),
            "/v1/classify_batch": Route(
                "POST", self.classify_batch, work=True, protected=True, check=self._may_wait
            ),
            "/v1/model": Route("GET", self.model, protected=True),
            "/openapi.json": Route("GET", self.document),
        }

    async def model(self, _: Request) -> Response:
        """What is served."""
        return self._description

    async def document(self, _: Request) -> Response:
        """The OpenAPI document."""
        return self._document

    async def classify(self, request: Request) -> Response:
        """Answer one picture."""
        kind = request.content_type()
        if kind == MULTIPART:
            form = await self._form(request, self._settings.max_bytes, 1)
            fields = {**self._query(request), **form.fields}
            data = _only_picture(form)
        elif kind.startswith("image/"):
            fields = self._query(request)
            data = await request.body(self._settings.max_bytes, self._settings.upload_seconds)
        else:
            raise unsupported_type(
                f"Send the picture as {MULTIPART} in the field 'image', or as the body with "
                f"Content-Type image/*; not as {kind or 'an undeclared type'}."
            )
        options = self._options(fields)
        pace = self._pace_of(options)
        pace.check()  # those whose bodies came meanwhile are before it
        with pace.turn() as turn:
            answered = await self._classifier.classify(data, options, turn.begin)
        return json_response({"model": self._model, **answered.answer})

    async def classify_batch(self, request: Request) -> Response:
        """Answer several pictures, each on its own, and what they show together."""
        if request.content_type() != MULTIPART:
            raise unsupported_type(f"Send the pictures as {MULTIPART} in the field 'images'.")
        form = await self._form(
            request, self._settings.max_batch_bytes, self._settings.max_batch, REPEATED
        )
        pictures = _files(form, "images")
        options = self._options({**self._query(request), **form.fields})
        if len(pictures) > self._settings.max_batch:
            raise too_large(
                f"{len(pictures)} pictures are more than the {self._settings.max_batch} that one "
                "request may hold; send several requests."
            )
        objects = _objects(form, len(pictures))
        request.count_pictures(len(pictures) - 1)
        results: list[Answered | ImageError] = []
        for start in range(0, len(pictures), SIDE_BY_SIDE):
            some = pictures[start : start + SIDE_BY_SIDE]
            results += await asyncio.gather(*(self._entry(data, options) for data in some))
        answer: Answer = {"model": self._model, "results": [picture_entry(one) for one in results]}
        if objects:
            answer["objects"] = object_entries(self._info, results, objects, options.top_k)
        return json_response(answer)

    async def _entry(self, data: bytes, options: Options) -> Answered | ImageError:
        try:
            with self._pace_of(options).turn():
                return await self._classifier.classify(data, options)
        except ImageError as error:
            return error

    def _may_wait(self) -> None:
        self._pace.check()

    def _pace_of(self, options: Options) -> Pace:
        return self._explain_pace if options.explain else self._pace

    async def _form(
        self,
        request: Request,
        max_bytes: int,
        max_files: int,
        repeated: frozenset[str] = frozenset(),
    ) -> Form:
        body = await request.body(max_bytes + FORM_OVERHEAD, self._settings.upload_seconds)
        # A few files too many are let through to be named in a clear refusal.
        return parse_form(
            request.header(b"content-type"),
            body,
            max_parts=(max_files + 1) * (1 + len(repeated)) + OPTION_PARTS,
            repeated=repeated,
        )

    @staticmethod
    def _query(request: Request) -> dict[str, str]:
        return dict(request.query())

    def _options(self, fields: dict[str, str]) -> Options:
        unknown = sorted(fields.keys() - OPTIONS)
        if unknown:
            raise bad_request(
                "option",
                f"Unknown option {unknown[0][:50]!r}; there are {', '.join(sorted(OPTIONS))}.",
            )
        largest = self._settings.max_top_k
        top_k = fields.get("top_k", str(min(DEFAULT_TOP_K, largest))).strip()
        if not (top_k.isascii() and top_k.isdigit() and len(top_k) < 6) or not (
            1 <= int(top_k) <= largest
        ):
            raise bad_request("option", f"top_k must be a whole number from 1 to {largest}.")
        explain = _flag(fields, "explain")
        return Options(
            int(top_k),
            explain,
            self._coverage(fields),
            self._similar(fields),
            _flag(fields, "watermark", default=self._settings.check_watermark),
        )

    def _coverage(self, fields: dict[str, str]) -> float | None:
        """The coverage of the label sets that are asked for; None where none are."""
        # Who says a coverage asks for the sets.
        wanted = _flag(fields, "label_sets", default="coverage" in fields)
        try:
            coverage = float(fields.get("coverage", DEFAULT_COVERAGE))
        except ValueError:
            coverage = 0.0
        if not LEAST_COVERAGE <= coverage <= LARGEST_COVERAGE:
            raise bad_request(
                "option", f"coverage must be a number from {LEAST_COVERAGE} to {LARGEST_COVERAGE}."
            )
        if wanted and not self._info.conformity:
            raise bad_request(
                "option", "This model was not calibrated for label sets; leave label_sets out."
            )
        return coverage if wanted else None

    def _similar(self, fields: dict[str, str]) -> int:
        """How many similar training pictures are asked for."""
        text = fields.get("similar", "0").strip()
        if not (text.isascii() and text.isdigit() and len(text) < 6) or int(text) > LARGEST_COUNT:
            raise bad_request(
                "option", f"similar must be a whole number from 0 to {LARGEST_COUNT}."
            )
        if int(text) and not self._has_index:
            raise bad_request(
                "option",
                "This model keeps no index of its training pictures; leave similar out, or serve "
                "a bundle that was trained with --similar names.",
            )
        return int(text)


def _flag(fields: dict[str, str], name: str, *, default: bool = False) -> bool:
    if name not in fields:
        return default
    value = fields[name].strip().lower()
    if value not in _TRUE | _FALSE:
        raise bad_request("option", f"{name} must be true or false.")
    return value in _TRUE


def _files(form: Form, field: str) -> list[bytes]:
    if field in form.fields:
        raise bad_request(
            "not_a_file",
            f"The field {field!r} is text; send the file's content. URLs and paths are never "
            "fetched.",
        )
    wrong = [part.name for part in form.files if part.name != field]
    if wrong:
        raise bad_request(
            "field", f"Unknown file field {wrong[0][:50]!r}; send pictures as {field!r}."
        )
    if not form.files:
        raise bad_request("missing_field", f"Send the picture's file in the field {field!r}.")
    return [part.data for part in form.files]


def _objects(form: Form, pictures: int) -> list[str]:
    """The object that each picture shows; empty where none is named."""
    names = [name.strip() for name in form.lists.get("object", [])]
    if names and len(names) != pictures:
        raise bad_request(
            "option",
            f"{len(names)} fields 'object' for {pictures} pictures; send one for each picture, in "
            "their order, blank where a picture stands alone.",
        )
    return names if any(names) else []


def _only_picture(form: Form) -> bytes:
    pictures = _files(form, "image")
    if len(pictures) > 1:
        raise bad_request(
            "several_files",
            f"{len(pictures)} files in 'image'; send one, or several to /v1/classify_batch.",
        )
    return pictures[0]


def _describe(bundle: Bundle, settings: ClassifierSettings, model: dict[str, str]) -> Any:  # noqa: ANN401
    info, manifest = bundle.classifier, bundle.manifest
    return {
        "model": model,
        "created": manifest.created.isoformat(),
        "code_version": manifest.code_version,
        "dataset_digest": manifest.dataset_digest,
        "backbone": info.backbone,
        "labels": info.labels,
        "metrics": {task: json.loads(m.model_dump_json()) for task, m in info.metrics.items()},
        "abstention_thresholds": info.abstention_thresholds,
        "selective_accuracy": info.selective_accuracy,
        "selective_confidence": info.selective_confidence,
        "abstention_caveats": {
            task: caveat for task in info.labels if (caveat := info.abstention_caveat(task))
        },
        "in_domain_threshold": info.in_domain_threshold,
        "label_sets": bool(info.conformity),
        "similar": has_index(bundle),
        "names": label_names(bundle.path, info.labels),
        "temperatures": info.temperatures,
        "preprocessing": {
            "input_size": info.input_size,
            "resize": info.resize,
            "formats": list(FORMATS),
        },
        "limits": {
            name: getattr(settings, name)
            for name in ("max_bytes", "max_pixels", "max_batch", "max_batch_bytes", "max_top_k")
        },
    }
