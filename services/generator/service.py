"""The generator as a BentoML service.

One worker holds the pipeline, in a thread of its own beside the event loop. Requests that wait
together are batched here rather than by BentoML's adaptive batching, which joins only what
arrives within milliseconds, fails a whole batch for one item, and does not notice a caller that
hung up. Settings are read when this module is imported: BentoML's decorators need the number of
workers then.
"""

from __future__ import annotations

import asyncio
import signal

import bentoml

from services.admission import Admission
from services.auth import BearerKeys
from services.bento import RestService, load_to_serve, worker_index
from services.connections import limit_connections
from services.draining import Drain
from services.generator.api import GeneratorApi
from services.generator.engine import Engine
from services.generator.metrics import SECONDS, GeneratorMetrics
from services.generator.settings import GeneratorSettings
from services.logs import configure_logs
from services.metrics import HttpMetrics, WorkerMetrics, shared_folder
from services.rate_limit import RateLimit
from services.readiness import Readiness
from services.rest import RestApp
from services.settings import load_settings
from services.store import BASE, BUNDLE, stored

SETTINGS = load_settings(GeneratorSettings, bundle=stored(BUNDLE), base=stored(BASE))


@bentoml.service(
    name="porcelain_generator", workers=SETTINGS.worker_count, service_class=RestService
)
class GeneratorService:
    """REST in front of the pipeline."""

    def __init__(self) -> None:
        self._logger = configure_logs()
        bundle = load_to_serve(SETTINGS.bundle, "generator")
        self._engine = Engine(bundle, SETTINGS, GeneratorMetrics(bundle), worker_index())
        self._workers = WorkerMetrics(SETTINGS.worker_count)
        self._readiness = Readiness(shared_folder(), SETTINGS.worker_count)
        keys = BearerKeys(SETTINGS.key_file)
        self._drain = Drain(SETTINGS.drain_seconds)
        limit_connections(SETTINGS.connection_limits)
        self.rest = RestApp(
            GeneratorApi(bundle, SETTINGS, self._engine, keys.required).routes(),
            admission=Admission(SETTINGS.max_concurrency, SETTINGS.max_buffered_bytes),
            readiness=self._readiness,
            metrics=HttpMetrics(SECONDS),
            keys=keys,
            rate_limit=RateLimit(shared_folder(), SETTINGS.rate_limit, SETTINGS.rate_burst),
            drain=self._drain,
            log_requests=SETTINGS.log_requests,
        )

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    def supervise() -> None:
        """In the process above the workers, before it starts them."""
        from services.supervision import supervise

        supervise()

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        """Load and warm up beside the event loop, which meanwhile answers 503."""
        self._drain.before_stopping()
        self._opening = asyncio.create_task(self._open())
        if self._readiness.anyone():  # this worker replaces another: the rest answer meanwhile
            await self._opening

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        """Stop the thread that samples."""
        self._engine.close()
        self._readiness.unmark()

    async def _open(self) -> None:
        try:
            await self._engine.open()
        except Exception:
            self._logger.exception("the model cannot be loaded; this worker stops")
            signal.raise_signal(signal.SIGTERM)
            raise
        self._readiness.mark()
        self._workers.ready()
        self._logger.info("ready")
