"""The classifier as a BentoML service.

BentoML runs the worker processes, and on a GPU the inner service with its adaptive batching. The
routes are our own (`services.classifier.api`), because BentoML's image inputs answer 500 to bad
pictures and fetch URLs. Settings are read when this module is imported: BentoML's decorators
need the numbers of workers then.
"""

from __future__ import annotations

import os
from http import HTTPStatus
from typing import Any

import bentoml
import numpy as np
from bentoml.exceptions import BentoMLException

from porcelain.predictor import Predictor
from services.arrays import read_no_pickles
from services.bento import (
    INNER_SERVER,
    RestService,
    load_to_serve,
    require_private_socket,
    stop_after_others,
    worker_index,
)
from services.classifier.api import ClassifierApi
from services.classifier.classifying import (
    Call,
    Classifier,
    InnerServiceClassifier,
    WorkerClassifier,
)
from services.classifier.metrics import ClassifierMetrics, InferenceMetrics
from services.classifier.packing import pack
from services.classifier.settings import ClassifierSettings
from services.logs import configure_logs
from services.metrics import HttpMetrics, shared_folder
from services.problems import not_ready
from services.readiness import Readiness
from services.settings import load_settings
from services.store import BUNDLE, stored
from services.worker import Worker

SETTINGS = load_settings(ClassifierSettings, bundle=stored(BUNDLE))
GPUS: dict[str, Any] = (
    {"resources": {"gpu": SETTINGS.gpus}, "workers": SETTINGS.gpus}
    if SETTINGS.device == "cuda"
    else {"workers": 1}
)

AWAY = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}


@bentoml.service(
    name="porcelain_inference",
    traffic={"timeout": SETTINGS.model_seconds},
    **INNER_SERVER,
    **GPUS,
)
class Inference:
    """The model in a process of its own, one per GPU; it takes decoded, validated pictures."""

    def __init__(self) -> None:
        require_private_socket("porcelain_inference")
        read_no_pickles()
        configure_logs()
        if SETTINGS.device == "cuda":
            os.environ["CUDA_VISIBLE_DEVICES"] = str(worker_index())
        bundle = load_to_serve(SETTINGS.bundle, "classifier")
        self._predictor = Predictor(bundle, threads=SETTINGS.threads, device=SETTINGS.device)
        self._predictor.warm_up()
        self._metrics = InferenceMetrics()

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    def outlive_callers(self) -> None:
        """Requests that API workers still hold on shutdown need the model."""
        workers = Readiness(shared_folder(), SETTINGS.worker_count)
        stop_after_others(workers.anyone, SETTINGS.shutdown_seconds)

    @bentoml.api(  # type: ignore[untyped-decorator]
        batchable=True, max_batch_size=SETTINGS.gpu_batch, max_latency_ms=SETTINGS.gpu_latency_ms
    )
    def infer(self, images: np.ndarray) -> np.ndarray:
        """Run uint8 [N, size, size, 3]; one packed row of outputs per picture, in order."""
        return self._rows(images, explain=False)

    @bentoml.api  # type: ignore[untyped-decorator]
    def explain(self, images: np.ndarray) -> np.ndarray:
        """As `infer`, with maps; unbatched, because one picture is already many calls."""
        return self._rows(images, explain=True)

    @bentoml.api  # type: ignore[untyped-decorator]
    def features(self, images: np.ndarray) -> np.ndarray:
        """Shared features [N, F], for the few who ask for similar pictures; so unbatched."""
        self._check(images)
        self._metrics.ran(len(images))
        features = self._predictor.run(images, features=True).features
        assert features is not None
        return features

    def _rows(self, images: np.ndarray, *, explain: bool) -> np.ndarray:
        self._check(images)
        self._metrics.ran(len(images))
        rows = pack(self._predictor.info, self._predictor.run(images, activation=explain))
        if len(rows) != len(images):  # BentoML would hand out the wrong rows
            raise RuntimeError(f"{len(images)} pictures gave {len(rows)} answers")
        return rows

    def _check(self, images: np.ndarray) -> None:
        size = self._predictor.info.input_size
        if images.dtype != np.uint8 or images.shape[1:] != (size, size, 3):
            raise ValueError(f"expected uint8 [N, {size}, {size}, 3], got {images.shape}")


@bentoml.service(
    name="porcelain_classifier", workers=SETTINGS.worker_count, service_class=RestService
)
class ClassifierService:
    """REST in front of the model, which runs here on a CPU and in `Inference` on a GPU."""

    inference = bentoml.depends(Inference) if SETTINGS.inner_service else None

    def __init__(self) -> None:
        self._worker = Worker(SETTINGS)
        read_no_pickles()
        bundle = load_to_serve(SETTINGS.bundle, "classifier")
        metrics = ClassifierMetrics(bundle)
        self._classifier: Classifier = (
            InnerServiceClassifier(bundle, SETTINGS, metrics, self._infer)
            if SETTINGS.inner_service
            else WorkerClassifier(bundle, SETTINGS, metrics)
        )
        api = ClassifierApi(bundle, SETTINGS, self._classifier, self._worker.keys.required)
        self.rest = self._worker.rest(api.routes(), HttpMetrics())

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    def supervise() -> None:
        """In the process above the workers, before it starts them."""
        from services.supervision import supervise

        supervise()

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        """Load and warm up beside the event loop, which meanwhile answers 503."""
        await self._worker.start(self._classifier.open)

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        """Let jobs that were begun finish."""
        self._worker.stop(self._classifier.close)

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
