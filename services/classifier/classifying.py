"""From a picture's bytes to its answer, off the event loop.

On a CPU one job decodes, infers and shapes the answer, so that a request crosses threads once.
With an inner service the model's part happens in its process, where waiting pictures are batched.
"""

from __future__ import annotations

import asyncio
import base64
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from porcelain.bundle import Bundle
from porcelain.errors import ImageError
from porcelain.explanation import heat_map_png
from porcelain.images import DecodedImage
from porcelain.predictor import Outputs, Predictor, interpret
from porcelain.preparation import Pixels, decode_and_prepare
from services.classifier.answers import (
    Answer,
    Answered,
    shaped_label_sets,
    shaped_predictions,
)
from services.classifier.metrics import ClassifierMetrics
from services.classifier.packing import unpack
from services.classifier.settings import ClassifierSettings
from services.classifier.similar import SimilarPictures
from services.classifier.synthetic import synthetic_warnings
from services.problems import Problem

DEFAULT_TOP_K = 3
WARM_UP_PAUSE = 0.1  # seconds between attempts to reach an inner service that is loading

Call = Literal["infer", "explain", "features"]
Infer = Callable[[npt.NDArray[np.uint8], Call], Awaitable[npt.NDArray[np.float32]]]
"""Pictures, and what of the inner service to call, to its rows."""


def _at_once() -> None:
    """What begins without being asked whether it still should."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller may ask for."""

    top_k: int = DEFAULT_TOP_K
    explain: bool = False
    coverage: float | None = None
    """Of the label sets; None asks for none."""

    similar: int = 0
    """How many training pictures to list."""

    watermark: bool = False
    """Whether to look for the watermark of generated pictures."""


class Classifier(ABC):
    """Answers one picture at a time; many may wait."""

    def __init__(
        self, bundle: Bundle, settings: ClassifierSettings, metrics: ClassifierMetrics
    ) -> None:
        self._info = bundle.classifier
        self._limits = settings.limits
        self._metrics = metrics
        self._similar = SimilarPictures(bundle)
        self._executor = ThreadPoolExecutor(settings.jobs, thread_name_prefix="classify")
        # An explanation takes a hundred times as long: plain requests shall not queue behind it.
        self._explainer = ThreadPoolExecutor(1, thread_name_prefix="explain")

    @abstractmethod
    async def open(self) -> None:
        """Load the model and run it once."""

    @abstractmethod
    async def classify(
        self, data: bytes, options: Options, begin: Callable[[], None] = _at_once
    ) -> Answered:
        """Answer one encoded picture.

        Args:
            data: Its bytes.
            options: What is asked for.
            begin: Called in a worker thread when its turn has come; what it raises is the answer.

        Raises:
            ImageError: The picture cannot be used.
        """

    def close(self) -> None:
        """Let running jobs finish and take no more."""
        self._explainer.shutdown(wait=True)
        self._executor.shutdown(wait=True)

    async def _job(
        self,
        work: Callable[..., Any],
        *arguments: object,
        explain: bool = False,
    ) -> Any:  # noqa: ANN401
        loop = asyncio.get_running_loop()
        executor = self._explainer if explain else self._executor
        return await loop.run_in_executor(executor, work, *arguments)

    def _decode(self, data: bytes, begin: Callable[[], None]) -> tuple[Pixels, DecodedImage]:
        begin()
        started = time.perf_counter()
        try:
            result = decode_and_prepare(
                data, self._info.input_size, self._info.resize, self._limits
            )
        except ImageError as error:
            self._metrics.not_decoded(error.reason)
            raise
        self._metrics.decode_seconds.observe(time.perf_counter() - started)
        return result

    def _answer(
        self,
        data: bytes,
        pixels: Pixels,
        decoded: DecodedImage,
        outputs: Outputs,
        options: Options,
    ) -> Answered:
        predictions = interpret(
            self._info, outputs, top_k=options.top_k, coverage=options.coverage
        )[0]
        self._metrics.predicted(predictions)
        answer: Answer = {
            "image": {"width": decoded.width, "height": decoded.height, "format": decoded.format},
            "predictions": shaped_predictions(predictions),
        }
        if warnings := synthetic_warnings(data, self._limits, watermark=options.watermark):
            answer["warnings"] = warnings
        threshold = self._info.in_domain_threshold
        if threshold is not None and outputs.domain is not None:
            score = float(outputs.domain[0])
            answer["in_domain"] = {"value": score >= threshold, "score": round(score, 6)}
            self._metrics.judged(score >= threshold)
        if options.coverage is not None:
            answer["label_sets"] = shaped_label_sets(predictions, options.coverage)
        if options.similar and outputs.features is not None:
            answer["similar"] = self._similar.find(outputs.features[0], options.similar)
        if options.explain and outputs.activation is not None:
            shape = (decoded.width, decoded.height)
            answer["explanation"] = {
                task: _data_uri(heat_map_png(pixels, heat, shape, self._info.resize))
                for task, heat in zip(self._info.labels, outputs.activation[0], strict=True)
            }
        return Answered(answer, outputs)


class WorkerClassifier(Classifier):
    """The model runs in this process."""

    def __init__(
        self, bundle: Bundle, settings: ClassifierSettings, metrics: ClassifierMetrics
    ) -> None:
        super().__init__(bundle, settings, metrics)
        self._bundle = bundle
        self._settings = settings
        self._predictor: Predictor | None = None

    async def open(self) -> None:
        """Load the model and run it once."""
        self._predictor = await self._job(self._load)

    def _load(self) -> Predictor:
        settings = self._settings
        predictor = Predictor(self._bundle, threads=settings.threads, device=settings.device)
        predictor.warm_up()
        return predictor

    async def classify(
        self, data: bytes, options: Options, begin: Callable[[], None] = _at_once
    ) -> Answered:
        """Answer one encoded picture."""
        answered: Answered = await self._job(
            self._work, data, options, begin, explain=options.explain
        )
        return answered

    def _work(self, data: bytes, options: Options, begin: Callable[[], None]) -> Answered:
        if self._predictor is None:
            raise RuntimeError("classify was called before open")
        pixels, decoded = self._decode(data, begin)
        images = pixels[np.newaxis]
        started = time.perf_counter()
        outputs = self._predictor.run(images, features=options.similar > 0)
        answered = time.perf_counter()
        self._metrics.inference_seconds.observe(answered - started)
        if options.explain:
            outputs = replace(outputs, activation=self._predictor.explain(images, outputs))
            self._metrics.explanation_seconds.observe(time.perf_counter() - answered)
        return self._answer(data, pixels, decoded, outputs, options)


class InnerServiceClassifier(Classifier):
    """The model runs in an inner service, which receives pictures already decoded and checked."""

    def __init__(
        self,
        bundle: Bundle,
        settings: ClassifierSettings,
        metrics: ClassifierMetrics,
        infer: Infer,
    ) -> None:
        super().__init__(bundle, settings, metrics)
        self._infer = infer

    async def open(self) -> None:
        """Wait for the inner service, which loads beside this worker, and run it once."""
        size = self._info.input_size
        blank = np.full((1, size, size, 3), 127, dtype=np.uint8)
        while True:
            try:
                await self._infer(blank, "infer")
            except Problem:
                await asyncio.sleep(WARM_UP_PAUSE)
            else:
                return

    async def classify(
        self, data: bytes, options: Options, begin: Callable[[], None] = _at_once
    ) -> Answered:
        """Answer one encoded picture."""
        pixels, decoded = await self._job(self._decode, data, begin)
        started = time.perf_counter()
        images = pixels[np.newaxis]
        packed = await self._infer(images, "explain" if options.explain else "infer")
        metrics = self._metrics
        stage = metrics.explanation_seconds if options.explain else metrics.inference_seconds
        stage.observe(time.perf_counter() - started)
        outputs = unpack(self._info, packed)
        if options.similar:
            outputs = replace(outputs, features=await self._infer(images, "features"))
        answered: Answered = await self._job(self._answer, data, pixels, decoded, outputs, options)
        return answered


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
