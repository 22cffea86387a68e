"""The generator: FastAPI's routes as methods of a BentoML service.

One worker holds the pipeline, in a thread of its own beside the event loop. Requests that wait
together are batched here rather than by BentoML's adaptive batching, which joins only what
arrives within milliseconds, fails a whole batch for one item, and does not notice a caller that
hung up. Settings are read when this module is imported: BentoML's decorators need the number of
workers then.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import bentoml
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from porcelain.bundle import load_bundle
from porcelain.content_credentials import load_signing
from sampling.request import SampleRequest, SamplingCancelledError
from services.app import bentoml_config, complete, create_app, problems
from services.auth import BearerKeys
from services.generator.answers import Composer, choose_answer
from services.generator.batching import QueueFullError, StoppedError
from services.generator.description import ANSWERS, describe, describe_labels
from services.generator.engine import Engine
from services.generator.metrics import SECONDS, GeneratorMetrics
from services.generator.planning import Order, Planner
from services.generator.schemas import GenerateAnswer, GenerateRequest, ModelAnswer
from services.generator.settings import GeneratorSettings
from services.logs import configure_logs
from services.metrics import WorkerMetrics
from services.problems import full, not_ready
from services.settings import load_settings
from services.store import BASE, BUNDLE, stored

SETTINGS = load_settings(
    GeneratorSettings,
    bundle=stored(BUNDLE, "PORCELAIN_BUNDLE"),
    base=stored(BASE, "PORCELAIN_BASE"),
)
KEYS = BearerKeys(SETTINGS.key_file)
REQUEST_SECONDS = 3600.0
"""After which BentoML answers 504 in our place; pictures on a CPU take minutes."""

app = create_app(
    "Porcelain generator",
    "Makes pictures of porcelain from labels. Every picture says that it is synthetic (IPTC "
    "DigitalSourceType in XMP, and PNG text chunks). The same seed and request give the same "
    "picture. Every error is application/problem+json (RFC 9457).",
    GenerateRequest,
)
WORK = problems(400, 406, 408, 409, 413, 415, 422, 429, 503, keys=KEYS.required)


@bentoml.service(name="porcelain_generator", **bentoml_config(SETTINGS, timeout=REQUEST_SECONDS))
@bentoml.asgi_app(app)
class GeneratorService:
    """REST in front of the pipeline."""

    def __init__(self) -> None:
        self._logger = configure_logs()
        self._metrics = WorkerMetrics(SETTINGS.worker_count)
        bundle = load_bundle(SETTINGS.bundle, "generator")
        worker = (bentoml.server_context.worker_index or 1) - 1
        self._engine = Engine(bundle, SETTINGS, GeneratorMetrics(bundle), worker)
        self._planner = Planner(bundle, SETTINGS)
        self._description = describe(bundle, SETTINGS)
        signing = load_signing(
            SETTINGS.certificate, SETTINGS.certificate_key, SETTINGS.demo_certificate
        )
        self._composer = Composer(self._description.model, signing)
        describe_labels(app.openapi(), self._planner, bundle.generator, SETTINGS)
        self._is_ready = False

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        """Load and warm up beside the event loop, which meanwhile answers 503."""
        self._opening = asyncio.create_task(self._open())

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        """Stop the thread that samples."""
        self._engine.close()

    async def __is_ready__(self) -> bool:
        return self._is_ready

    @app.post(
        "/v1/generate",
        summary="Make synthetic pictures of vessels with these labels",
        response_model=GenerateAnswer,
        dependencies=KEYS.dependencies,
        responses={200: ANSWERS, **WORK},
        max_body_size=SETTINGS.max_body_bytes,
    )
    async def generate(self, request: Request, wanted: GenerateRequest) -> Response:
        """As JSON, as the picture itself, or as a dataset folder in a ZIP file: see Accept."""
        order = self._planner.plan(wanted)
        media_type, picture_format = choose_answer(request.headers.get("accept", ""), order)
        if not self._is_ready:
            raise not_ready()
        pixels = await self._while_connected(request, order)
        return await asyncio.to_thread(
            self._composer.compose, order, pixels, media_type, picture_format
        )

    @app.get(
        "/v1/model",
        summary="What is served",
        dependencies=KEYS.dependencies,
        responses=problems(keys=KEYS.required),
    )
    async def model(self) -> ModelAnswer:
        """Labels, combinations, sampling defaults and limits."""
        return self._description

    async def _open(self) -> None:
        try:
            await self._engine.open()
        except Exception:
            self._logger.exception("the model cannot be loaded; this worker stops")
            signal.raise_signal(signal.SIGTERM)
            raise
        self._is_ready = True
        self._metrics.ready()
        self._logger.info("ready")

    async def _while_connected(self, request: Request, order: Order) -> list[Any]:
        """Pictures, which are not made when the caller hangs up."""
        making = asyncio.create_task(self._make(order))
        leaving = asyncio.create_task(_disconnected(request))
        try:
            await asyncio.wait({making, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not making.done():
                raise ClientDisconnect
            return making.result()
        finally:
            leaving.cancel()
            making.cancel()

    async def _make(self, order: Order) -> list[Any]:
        wanted = [SampleRequest(order.prompt, seed, order.guidance_scale) for seed in order.seeds]
        try:
            return await self._engine.make(wanted, order.steps)
        except QueueFullError as error:
            seconds = error.retry_seconds
            raise full(
                f"As many pictures wait as may; send it again in {seconds} "
                f"second{'s' if seconds > 1 else ''}.",
                seconds,
            ) from error
        except (SamplingCancelledError, StoppedError) as error:  # the service stops
            raise not_ready() from error


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


complete(GeneratorService, app, SETTINGS, SECONDS)
