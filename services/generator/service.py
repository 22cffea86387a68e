"""The generator as a BentoML service.

One worker holds the pipeline, in a thread of its own beside the event loop. Requests that wait
together are batched here rather than by BentoML's adaptive batching, which joins only what
arrives within milliseconds, fails a whole batch for one item, and does not notice a caller that
hung up. Settings are read when this module is imported: BentoML's decorators need the number of
workers then.
"""

from __future__ import annotations

import bentoml

from services.bento import RestService, load_to_serve, worker_index
from services.generator.api import GeneratorApi
from services.generator.engine import Engine
from services.generator.metrics import SECONDS, GeneratorMetrics
from services.generator.settings import GeneratorSettings
from services.metrics import HttpMetrics
from services.settings import load_settings
from services.store import BASE, BUNDLE, stored
from services.worker import Worker

SETTINGS = load_settings(GeneratorSettings, bundle=stored(BUNDLE), base=stored(BASE))


@bentoml.service(
    name="porcelain_generator", workers=SETTINGS.worker_count, service_class=RestService
)
class GeneratorService:
    """REST in front of the pipeline."""

    def __init__(self) -> None:
        self._worker = Worker(SETTINGS)
        bundle = load_to_serve(SETTINGS.bundle, "generator")
        self._engine = Engine(bundle, SETTINGS, GeneratorMetrics(bundle), worker_index())
        api = GeneratorApi(bundle, SETTINGS, self._engine, self._worker.keys.required)
        self.rest = self._worker.rest(api.routes(), HttpMetrics(SECONDS))

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    def supervise() -> None:
        """In the process above the workers, before it starts them."""
        from services.supervision import supervise

        supervise()

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        """Load and warm up beside the event loop, which meanwhile answers 503."""
        await self._worker.start(self._engine.open)

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        """Stop the thread that samples."""
        self._worker.stop(self._engine.close)
