"""The classifier: FastAPI's routes as methods of a BentoML service.

The routes are mounted by `bentoml.asgi_app`, because BentoML's own image inputs answer 500 to bad
pictures and fetch URLs. Settings are read when this module is imported: BentoML's decorators
need the number of workers then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Annotated, Any

import bentoml
from bentoml.exceptions import BentoMLException
from fastapi import Query
from pydantic import Field
from starlette.requests import Request

from porcelain.bundle import load_bundle
from porcelain.errors import ImageError
from services.admission import Admission
from services.app import bentoml_config, complete, create_app, problems
from services.auth import BearerKeys
from services.classifier.answers import Answered, entry_of, object_entries
from services.classifier.description import (
    check_supported,
    describe,
    one_picture,
    several_pictures,
)
from services.classifier.inference import (
    Call,
    Classifier,
    InnerServiceClassifier,
    WorkerClassifier,
)
from services.classifier.inner import SETTINGS, Inference
from services.classifier.metrics import ClassifierMetrics
from services.classifier.schemas import (
    DEFAULT_TOP_K,
    BatchAnswer,
    ClassifyAnswer,
    ClassifyOptions,
    ModelAnswer,
)
from services.classifier.uploads import (
    FORM_OVERHEAD,
    Picture,
    Upload,
    merge_options,
    read_upload,
)
from services.logs import configure_logs
from services.metrics import WorkerMetrics
from services.problems import bad_request, not_ready

KEYS = BearerKeys(SETTINGS.key_file)
AWAY = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
SIDE_BY_SIDE = 4
"""Pictures of one batch request that wait for the model at a time."""


class Options(ClassifyOptions):
    """The options, with this service's bounds and defaults."""

    top_k: int = Field(
        min(DEFAULT_TOP_K, SETTINGS.max_top_k),
        ge=1,
        le=SETTINGS.max_top_k,
        description=ClassifyOptions.model_fields["top_k"].description,
    )
    watermark: bool = Field(
        SETTINGS.check_watermark,
        description=ClassifyOptions.model_fields["watermark"].description,
    )


app = create_app(
    "Porcelain classifier",
    "Answers what a photographed vessel is. Every error is application/problem+json (RFC 9457). "
    "Pictures are decoded by their content; URLs and paths are never fetched.",
    Options,
)
WORK = problems(400, 408, 413, 415, 422, 429, 503, keys=KEYS.required)


@bentoml.service(
    name="porcelain_classifier",
    **bentoml_config(SETTINGS, timeout=SETTINGS.upload_seconds + 120),
)
@bentoml.asgi_app(app)
class ClassifierService:
    """The model runs here on a CPU, in one thread, and in `Inference` on a GPU."""

    inference = bentoml.depends(Inference) if SETTINGS.inner_service else None

    def __init__(self) -> None:
        self._logger = configure_logs()
        self._metrics = WorkerMetrics(SETTINGS.worker_count)
        self._admission = Admission(SETTINGS.max_concurrency, SETTINGS.max_buffered_bytes)
        bundle = load_bundle(SETTINGS.bundle, "classifier")
        metrics = ClassifierMetrics(bundle)
        self._info = bundle.classifier
        self._description = describe(bundle, SETTINGS)
        self._classifier: Classifier = (
            InnerServiceClassifier(bundle, SETTINGS, metrics, self._infer)
            if SETTINGS.inner_service
            else WorkerClassifier(bundle, SETTINGS, metrics)
        )

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        """Warm up; the worker accepts no connection before."""
        self._classifier.open()
        self._metrics.ready()
        self._logger.info("ready")

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        """Let jobs that were begun finish."""
        self._classifier.close()

    async def __is_ready__(self) -> bool:
        return self._classifier.is_ready

    @app.post(
        "/v1/classify",
        summary="Answer one picture",
        response_model_exclude_none=True,
        dependencies=KEYS.dependencies,
        responses=WORK,
        openapi_extra=one_picture(Options, SETTINGS),
        max_body_size=SETTINGS.max_bytes + FORM_OVERHEAD,
    )
    async def classify(
        self, request: Request, query: Annotated[Options, Query()]
    ) -> ClassifyAnswer:
        """The picture is the file in the field `image`, or the body itself."""
        self._check_room(query)
        with self._admission.admit() as charge:
            async with self._read(request, "image", charge, raw=True) as upload:
                options = self._options(query, upload.fields)
                if len(upload.pictures) > 1:
                    raise bad_request(
                        "several_files",
                        f"{len(upload.pictures)} files in 'image'; send one, or several to "
                        "/v1/classify_batch.",
                    )
                self._check_room(options)  # those whose bodies came meanwhile are before it
                answered = await self._classifier.classify(
                    upload.pictures[0], options, request.is_disconnected
                )
        return ClassifyAnswer(model=self._description.model, **dict(answered.answer))

    @app.post(
        "/v1/classify_batch",
        summary="Answer several pictures, and objects that several show",
        response_model_exclude_none=True,
        dependencies=KEYS.dependencies,
        responses=WORK,
        openapi_extra=several_pictures(Options, SETTINGS),
        max_body_size=SETTINGS.max_batch_bytes + FORM_OVERHEAD,
    )
    async def classify_batch(
        self, request: Request, query: Annotated[Options, Query()]
    ) -> BatchAnswer:
        """One entry per picture, in order; one that cannot be used is an error in its place."""
        self._check_room(query)
        with self._admission.admit() as charge:
            async with self._read(request, "images", charge) as upload:
                names = one_for_each_picture(upload, "object")
                known = one_for_each_picture(upload, "known")
                common = self._options(query, upload.fields)
                if common.known:
                    raise bad_request(
                        "option", "Send known as a field of the form, once for each picture."
                    )
                options = [self._informed(common, text) for text in known]
                found = await self._classify_all(upload.pictures, options, request)
        objects = object_entries(self._info, found, names, common.top_k, self._classifier.prior)
        return BatchAnswer(
            model=self._description.model,
            results=[entry_of(one) for one in found],
            objects=objects or None,
        )

    @app.get(
        "/v1/model",
        summary="What is served",
        dependencies=KEYS.dependencies,
        responses=problems(keys=KEYS.required),
    )
    async def model(self) -> ModelAnswer:
        """Labels, metrics, digest, preprocessing and limits."""
        return self._description

    def _read(
        self, request: Request, field: str, charge: Callable[[int], None], *, raw: bool = False
    ) -> AbstractAsyncContextManager[Upload]:
        return read_upload(request, field, max_pictures=SETTINGS.max_batch, charge=charge, raw=raw)

    def _check_room(self, options: ClassifyOptions) -> None:
        if not self._classifier.is_ready:
            raise not_ready()
        self._classifier.queue(options).check()

    def _options(self, query: Options, fields: dict[str, list[str]]) -> Options:
        options = merge_options(query, fields)
        check_supported(options, self._description)
        return options

    def _informed(self, options: Options, known: str) -> Options:
        informed = options.model_copy(update={"known": known})
        check_supported(informed, self._description)
        return informed

    async def _classify_all(
        self, pictures: list[Picture], options: list[Options], request: Request
    ) -> list[Answered | ImageError]:
        async def classify(picture: Picture, wanted: Options) -> Answered | ImageError:
            try:
                return await self._classifier.classify(picture, wanted, request.is_disconnected)
            except ImageError as error:
                return error

        found: list[Answered | ImageError] = []
        for start in range(0, len(pictures), SIDE_BY_SIDE):
            end = start + SIDE_BY_SIDE
            some = zip(pictures[start:end], options[start:end], strict=True)
            found += await asyncio.gather(*(classify(*one) for one in some))
        return found

    async def _infer(self, images: Any, call: Call) -> Any:  # noqa: ANN401 - BentoML's proxy is untyped
        # Needed with an inner service alone, and slow to import in every process.
        import aiohttp

        assert self.inference is not None
        try:
            return await self.inference.to_async.call(call, images)
        except BentoMLException as error:
            if error.error_code in AWAY:
                raise not_ready() from error
            raise
        except (aiohttp.ClientError, OSError) as error:
            raise not_ready() from error


def one_for_each_picture(upload: Upload, field: str) -> list[str]:
    """Take a field off a form that stands there once for each picture, or not at all.

    Returns:
        A text for each picture; blank where the form says nothing.

    Raises:
        Problem: 400, not one for each.
    """
    pictures = len(upload.pictures)
    texts = [text.strip() for text in upload.fields.pop(field, [])]
    if texts and len(texts) != pictures:
        raise bad_request(
            "option",
            f"{len(texts)} fields {field!r} for {pictures} pictures; send one for each picture, in "
            "their order, blank where there is nothing to say.",
        )
    return texts or [""] * pictures


complete(ClassifierService, app, SETTINGS)
