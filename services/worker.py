"""One worker process of a service: what stands in front of its model, and its start and stop.

Both services are made of it. BentoML calls the hooks, which each service names itself, because
BentoML looks for them in the service's own class.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping

from services.admission import Admission
from services.auth import BearerKeys
from services.balance import ConnectionBalance
from services.bento import worker_index
from services.connections import limit_connections
from services.draining import Drain
from services.logs import configure_logs
from services.metrics import HttpMetrics, WorkerMetrics, shared_folder
from services.rate_limit import RateLimit
from services.readiness import Readiness
from services.rest import RestApp, Route
from services.settings import ServiceSettings


class Worker:
    """A worker of the classifier or the generator service."""

    def __init__(self, settings: ServiceSettings) -> None:
        """Prepare all but the model.

        Args:
            settings: Of the service.
        """
        self._settings = settings
        self._logger = configure_logs()
        self._metrics = WorkerMetrics(settings.worker_count)
        self._readiness = Readiness(shared_folder(), settings.worker_count)
        self._drain = Drain(settings.drain_seconds)
        self.keys = BearerKeys(settings.key_file)
        limit_connections(settings.connection_limits)

    def rest(self, routes: Mapping[str, Route], metrics: HttpMetrics) -> RestApp:
        """The application that answers its requests.

        Args:
            routes: Of the service.
            metrics: Of its requests.
        """
        settings, folder = self._settings, shared_folder()
        return RestApp(
            routes,
            admission=Admission(settings.max_concurrency, settings.max_buffered_bytes),
            readiness=self._readiness,
            metrics=metrics,
            keys=self.keys,
            rate_limit=RateLimit(folder, settings.rate_limit, settings.rate_burst),
            drain=self._drain,
            balance=ConnectionBalance(folder, worker_index(), settings.worker_count),
            log_requests=settings.log_requests,
        )

    async def start(self, open_model: Callable[[], Awaitable[None]]) -> None:
        """Load and warm up beside the event loop, which meanwhile answers 503.

        Args:
            open_model: Returns when the model can answer.
        """
        self._drain.before_stopping()
        self._opening = asyncio.create_task(self._open(open_model))
        if self._readiness.anyone():  # this worker replaces another: the rest answer meanwhile
            await self._opening

    def stop(self, close_model: Callable[[], None]) -> None:
        """Stop when the last request is answered.

        Args:
            close_model: Lets jobs that were begun finish.
        """
        close_model()
        self._readiness.unmark()

    async def _open(self, open_model: Callable[[], Awaitable[None]]) -> None:
        try:
            await open_model()
        except Exception:
            self._logger.exception("the model cannot be loaded; this worker stops")
            signal.raise_signal(signal.SIGTERM)
            raise
        self._readiness.mark()
        self._metrics.ready()
        self._logger.info("ready")
