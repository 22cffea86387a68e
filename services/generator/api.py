"""The generator's routes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from porcelain.bundle import Bundle
from porcelain.content_credentials import load_signing
from porcelain.synthetic_picture import MEDIA_TYPES
from sampling.request import SampleRequest, SamplingCancelledError
from services.asgi import JSON, Request, Response, json_response
from services.generator.answers import Composer, choose_answer
from services.generator.batching import QueueFullError, StoppedError
from services.generator.engine import Engine
from services.generator.openapi import build_document
from services.generator.planning import Order, Planner
from services.generator.settings import GeneratorSettings
from services.label_names import label_names
from services.problems import full, not_ready, unsupported_type
from services.rest import Route

LIMITS = ("max_steps", "max_guidance_scale", "max_waiting", "max_batch")


class GeneratorApi:
    """Turns requests into pictures to make, and pictures into answers."""

    def __init__(
        self, bundle: Bundle, settings: GeneratorSettings, engine: Engine, keys: bool
    ) -> None:
        """Answer for `bundle`; `keys` says whether the document asks for bearer keys."""
        manifest = bundle.manifest
        self._settings = settings
        self._engine = engine
        self._planner = Planner(bundle, settings)
        model = {"name": manifest.name, "version": manifest.version, "digest": manifest.digest()}
        signing = load_signing(
            settings.certificate, settings.certificate_key, settings.demo_certificate
        )
        self._composer = Composer(model, signing)
        self._description = json_response(_describe(bundle, settings, model))
        self._document = json_response(build_document(bundle.generator, settings, keys))

    def routes(self) -> dict[str, Route]:
        """Path to route."""
        return {
            "/v1/generate": Route("POST", self.generate, work=True, protected=True),
            "/v1/model": Route("GET", self.model, protected=True),
            "/openapi.json": Route("GET", self.document),
        }

    async def model(self, _: Request) -> Response:
        """What is served."""
        return self._description

    async def document(self, _: Request) -> Response:
        """The OpenAPI document."""
        return self._document

    async def generate(self, request: Request) -> Response:
        """Make pictures."""
        kind = request.content_type()
        if kind != JSON:
            raise unsupported_type(f"Send {JSON}, not {kind or 'an undeclared type'}.")
        settings = self._settings
        body = await request.body(settings.max_body_bytes, settings.upload_seconds)
        order = self._planner.plan(body)
        request.count_pictures(len(order.seeds) - 1)
        media_type, picture_format = choose_answer(request.header(b"accept"), order)
        pixels = await request.while_connected(self._make(order))
        return await asyncio.to_thread(
            self._composer.compose, order, pixels, media_type, picture_format
        )

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


def _describe(bundle: Bundle, settings: GeneratorSettings, model: dict[str, str]) -> Any:  # noqa: ANN401
    info, manifest = bundle.generator, bundle.manifest
    return {
        "model": model,
        "created": manifest.created.isoformat(),
        "code_version": manifest.code_version,
        "dataset_digest": manifest.dataset_digest,
        "base": info.base.model_dump(),
        "lora": {"rank": info.rank, "alpha": info.alpha, "text_encoder": info.text_encoder},
        "prompt_template": info.prompt_template,
        "labels": info.labels,
        "names": label_names(bundle.path, info.labels),
        "combinations": [json.loads(one.model_dump_json()) for one in info.combinations],
        "sampling": info.sampling.model_dump(),
        "formats": list(MEDIA_TYPES),
        "limits": {
            **{name: getattr(settings, name) for name in LIMITS},
            "max_count": settings.count_limit,
        },
    }
