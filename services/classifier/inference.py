"""From a picture's bytes to its answer, off the event loop.

On a CPU one job decodes, infers and shapes the answer, in the worker's one thread for the model.
With an inner service the model's part happens in its process, where waiting pictures are batched.
"""

from __future__ import annotations

import asyncio
import base64
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from porcelain.bundle import Bundle
from porcelain.errors import ImageError
from porcelain.explanation import heat_map_png
from porcelain.images import DecodedImage
from porcelain.label_prior import parse_known
from porcelain.predictor import Outputs, Predictor, interpret, label_prior
from porcelain.preparation import Pixels, decode_and_prepare
from services.admission import DelayBoundedQueue
from services.classifier.answers import (
    Answered,
    label_sets_of,
    predictions_of,
    unusual_combination_of,
)
from services.classifier.metrics import ClassifierMetrics
from services.classifier.packing import unpack
from services.classifier.schemas import Classified, ClassifyOptions, Image, InDomain
from services.classifier.settings import ClassifierSettings
from services.classifier.similar import SimilarPictures
from services.classifier.synthetic import synthetic_warnings
from services.classifier.uploads import Picture
from services.problems import Problem

WARM_UP_PAUSE: Final = 0.1
"""Seconds between attempts to reach an inner service that is loading."""

Call = Literal["infer", "explain", "features"]
Infer = Callable[[npt.NDArray[np.uint8], Call], Awaitable[npt.NDArray[np.float32]]]
"""Pictures, and what of the inner service to call, to its rows."""


class Classifier(ABC):
    """Answers one picture at a time; many may wait.

    Attributes:
        prior: What facts are used with; None where the bundle cannot use them.
    """

    def __init__(
        self, bundle: Bundle, settings: ClassifierSettings, metrics: ClassifierMetrics
    ) -> None:
        self._info = bundle.classifier
        self._limits = settings.limits
        self._metrics = metrics
        self._similar = SimilarPictures(bundle)
        self.prior = label_prior(self._info) if self._info.known_facts is not None else None
        threads = settings.jobs if settings.inner_service else 1
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="classify")
        # An explanation takes a hundred times as long: plain requests shall not queue behind it.
        self._explainer = ThreadPoolExecutor(1, thread_name_prefix="explain")
        slots = settings.gpu_batch * 2 if settings.inner_service else 2
        self._queue = DelayBoundedQueue(settings.max_wait_seconds, slots)
        self._explain_queue = DelayBoundedQueue(settings.max_explain_wait_seconds)

    @abstractmethod
    def open(self) -> None:
        """Load the model and run it once."""

    @property
    def is_ready(self) -> bool:
        """Whether it can answer."""
        return True

    def queue(self, options: ClassifyOptions) -> DelayBoundedQueue:
        """Where a picture with these options waits."""
        return self._explain_queue if options.explain else self._queue

    async def classify(
        self,
        picture: Picture,
        options: ClassifyOptions,
        is_disconnected: Callable[[], Awaitable[bool]],
    ) -> Answered:
        """Answer one encoded picture.

        Args:
            picture: Its file.
            options: What is asked for.
            is_disconnected: Whether the caller has hung up; asked when the picture's turn comes.

        Raises:
            ImageError: The picture cannot be used.
            ClientDisconnect: The caller has hung up.
        """
        async with self.queue(options).turn(is_disconnected):
            return await self._classify(picture, options)

    def close(self) -> None:
        """Let running jobs finish and take no more."""
        self._explainer.shutdown(wait=True)
        self._executor.shutdown(wait=True)

    @abstractmethod
    async def _classify(self, picture: Picture, options: ClassifyOptions) -> Answered: ...

    async def _job(
        self, work: Callable[..., Any], *arguments: object, explain: bool = False
    ) -> Any:  # noqa: ANN401 - what `work` returns
        executor = self._explainer if explain else self._executor
        return await asyncio.get_running_loop().run_in_executor(executor, work, *arguments)

    def _decode(self, picture: Picture) -> tuple[bytes, Pixels, DecodedImage]:
        started = time.perf_counter()
        data = picture.read()
        try:
            pixels, decoded = decode_and_prepare(
                data, self._info.input_size, self._info.resize, self._limits
            )
        except ImageError as error:
            self._metrics.not_decoded(error.reason)
            raise
        self._metrics.decode_seconds.observe(time.perf_counter() - started)
        return data, pixels, decoded

    def _answer(
        self,
        decoding: tuple[bytes, Pixels, DecodedImage],
        outputs: Outputs,
        options: ClassifyOptions,
    ) -> Answered:
        data, pixels, decoded = decoding
        coverage = options.wanted_coverage
        known = parse_known(options.known, self._info.labels)
        found = interpret(
            self._info,
            outputs,
            top_k=options.top_k,
            coverage=coverage,
            known=[known],
            prior=self.prior,
        )[0]
        self._metrics.predicted(found)
        shape = (decoded.width, decoded.height)
        answer = Classified(
            image=Image(width=decoded.width, height=decoded.height, format=decoded.format),
            predictions=predictions_of(found),
            unusual_combination=unusual_combination_of(found, self.prior),
            warnings=synthetic_warnings(data, self._limits, watermark=options.watermark) or None,
        )
        threshold = self._info.in_domain_threshold
        if threshold is not None and outputs.domain is not None:
            score = float(outputs.domain[0])
            answer.in_domain = InDomain(value=score >= threshold, score=round(score, 6))
            self._metrics.judged(score >= threshold)
        if coverage is not None:
            answer.label_sets = label_sets_of(found, coverage)
        if options.similar and outputs.features is not None:
            answer.similar = self._similar.find(outputs.features[0], options.similar)
        if options.explain and outputs.activation is not None:
            answer.explanation = {
                task: _data_uri(heat_map_png(pixels, heat, shape, self._info.resize))
                for task, heat in zip(self._info.labels, outputs.activation[0], strict=True)
            }
        return Answered(answer, outputs, known)


class WorkerClassifier(Classifier):
    """The model runs in this process."""

    def __init__(
        self, bundle: Bundle, settings: ClassifierSettings, metrics: ClassifierMetrics
    ) -> None:
        super().__init__(bundle, settings, metrics)
        self._predictor = Predictor(bundle, threads=settings.threads, device=settings.device)

    def open(self) -> None:
        """Run the model: once to set it up, once to learn how long it takes."""
        self._predictor.warm_up()
        begun = time.perf_counter()
        self._predictor.warm_up()
        self._queue.seconds_per_picture = time.perf_counter() - begun

    async def _classify(self, picture: Picture, options: ClassifyOptions) -> Answered:
        answered: Answered = await self._job(self._work, picture, options, explain=options.explain)
        return answered

    def _work(self, picture: Picture, options: ClassifyOptions) -> Answered:
        decoding = self._decode(picture)
        images = decoding[1][np.newaxis]
        started = time.perf_counter()
        outputs = self._predictor.run(images, features=options.similar > 0)
        answered = time.perf_counter()
        self._metrics.inference_seconds.observe(answered - started)
        if options.explain:
            outputs = replace(outputs, activation=self._predictor.explain(images, outputs))
            self._metrics.explanation_seconds.observe(time.perf_counter() - answered)
        return self._answer(decoding, outputs, options)


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
        self._reached = False

    @property
    def is_ready(self) -> bool:
        """Whether the inner service has answered."""
        return self._reached

    def open(self) -> None:
        """Begin to wait for the inner service, which loads beside this worker."""
        self._waiting = asyncio.get_running_loop().create_task(self._reach())

    async def _reach(self) -> None:
        size = self._info.input_size
        blank = np.full((1, size, size, 3), 127, dtype=np.uint8)
        while not self._reached:
            try:
                await self._infer(blank, "infer")
            except Problem:
                await asyncio.sleep(WARM_UP_PAUSE)
            else:
                self._reached = True

    async def _classify(self, picture: Picture, options: ClassifyOptions) -> Answered:
        decoding = await self._job(self._decode, picture)
        started = time.perf_counter()
        images = decoding[1][np.newaxis]
        packed = await self._infer(images, "explain" if options.explain else "infer")
        metrics = self._metrics
        stage = metrics.explanation_seconds if options.explain else metrics.inference_seconds
        stage.observe(time.perf_counter() - started)
        outputs = unpack(self._info, packed)
        if options.similar:
            outputs = replace(outputs, features=await self._infer(images, "features"))
        answered: Answered = await self._job(self._answer, decoding, outputs, options)
        return answered


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
