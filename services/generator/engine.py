"""The model in a worker: loaded beside the event loop, and used by one thread."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from porcelain.bundle import Bundle
from porcelain.cores import available_cores
from sampling.request import SampleRequest, SamplingCancelledError
from services.generator.batching import Batch, Batcher
from services.generator.metrics import GeneratorMetrics
from services.generator.settings import GeneratorSettings
from services.logs import LOGGER

if TYPE_CHECKING:
    from sampling.generator import Generator


@dataclass(frozen=True, slots=True)
class Task:
    """One picture to make; those of equal steps can be made together."""

    request: SampleRequest
    steps: int


Pixels = npt.NDArray[np.uint8]
Outcome = Pixels | Exception
WARM_UP_STEPS = 2


class Engine:
    """Makes pictures in batches; many requests may wait."""

    def __init__(
        self,
        bundle: Bundle,
        settings: GeneratorSettings,
        metrics: GeneratorMetrics,
        worker: int = 0,
    ) -> None:
        """Prepare; `open` loads. `worker` is this process's number, which chooses its GPU."""
        self._bundle = bundle
        self._settings = settings
        self._metrics = metrics
        self._worker = worker
        self._size = bundle.generator.sampling
        self._closing = False
        self._generator: Generator | None = None
        self._serving: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sample")
        self._logger = logging.getLogger(LOGGER)
        self._batcher: Batcher[Task, Pixels] = Batcher(
            self._make,
            key=lambda task: task.steps,
            max_batch=settings.max_batch,
            max_waiting=settings.max_waiting,
            gather_seconds=settings.gather_ms / 1000,
            on_wait=self._on_wait,
        )

    async def open(self) -> None:
        """Load the model, run it once, and begin to serve.

        Raises:
            PorcelainError: The model cannot be loaded.
        """
        loop = asyncio.get_running_loop()
        self._generator = await loop.run_in_executor(self._thread, self._load)
        self._serving = asyncio.create_task(self._batcher.run())

    async def make(self, requests: Sequence[SampleRequest], steps: int) -> list[Pixels]:
        """Pictures [H, W, 3] for `requests`, in order; when cancelled, they are not made.

        Raises:
            QueueFullError: Too many wait already.
        """
        return await self._batcher.submit([Task(request, steps) for request in requests])

    def close(self) -> None:
        """Stop; what callers still wait for has been made before this is called."""
        self._closing = True
        if self._serving is not None:
            self._serving.cancel()
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _load(self) -> Generator:
        import torch

        from sampling.generator import Generator

        settings = self._settings
        torch.set_num_threads(
            settings.threads or max(1, available_cores() // settings.worker_count)
        )
        device = settings.device
        if device != "cpu" and torch.cuda.is_available():
            device = f"cuda:{self._worker % torch.cuda.device_count()}"
        generator = Generator.load(
            self._bundle,
            base=settings.base,
            device=device,
            dtype=None if settings.dtype == "auto" else getattr(torch, settings.dtype),
            compile_unet=settings.compile,
        )
        # A compiled UNet learns of batches of any size at the second size that it meets.
        for count in (1, 2) if settings.compile else (1,):
            some = [SampleRequest("", seed, self._size.guidance_scale) for seed in range(count)]
            generator.sample(
                some, steps=WARM_UP_STEPS, width=self._size.width, height=self._size.height
            )
        self._metrics.gpu_memory(generator.gpu_memory())
        return generator

    async def _make(self, batch: Batch[Task, Pixels]) -> Sequence[Outcome]:
        now = time.perf_counter()
        for job in batch.jobs:
            self._metrics.queue_seconds.observe(now - job.since)
        requests = [task.request for task in batch.items]
        steps = batch.items[0].steps
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._sample, requests, steps, batch.wanted)

    def _sample(
        self, requests: Sequence[SampleRequest], steps: int, wanted: Callable[[], bool]
    ) -> list[Outcome]:
        """Make a batch; where that fails, its halves, so that a fault stays with its cause."""
        if self._generator is None:
            raise RuntimeError("pictures were asked for before the model was loaded")
        begun = time.perf_counter()
        done = 0

        def on_step(number: int, _: int) -> bool:
            nonlocal done
            done = number
            return wanted() and not self._closing

        try:
            pictures = self._generator.sample(
                requests,
                steps=steps,
                width=self._size.width,
                height=self._size.height,
                on_step=on_step,
            )
        except SamplingCancelledError as error:
            self._metrics.dropped.inc(len(requests))
            return [error] * len(requests)
        except Exception as error:
            if len(requests) == 1:
                self._metrics.failures.inc()
                self._logger.exception("a picture could not be made")
                return [error]
            fields = {"pictures": len(requests), "error": f"{type(error).__name__}: {error}"[:500]}
            self._logger.warning("a batch failed and is halved", extra={"fields": fields})
        else:
            self._metrics.made(len(requests), done, time.perf_counter() - begun)
            self._metrics.gpu_memory(self._generator.gpu_memory())
            return list(pictures)
        middle = len(requests) // 2
        return [
            *self._sample(requests[:middle], steps, wanted),
            *self._sample(requests[middle:], steps, wanted),
        ]

    def _on_wait(self, waiting: int, dropped: int) -> None:
        self._metrics.waiting.set(waiting)
        if dropped:
            self._metrics.dropped.inc(dropped)
