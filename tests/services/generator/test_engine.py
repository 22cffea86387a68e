"""The engine with a model that fails where it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from porcelain.bundle import load_bundle
from sampling.request import OnStep, SampleRequest, SamplingCancelledError
from services.generator.batching import StoppedError
from services.generator.engine import Engine, Pixels
from services.generator.metrics import GeneratorMetrics
from services.generator.settings import GeneratorSettings

BROKEN = 13  # a seed that the model cannot do
ROOM = 2  # pictures that fit into its memory


class Model:
    """Answers with pictures that show their seed."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def sample(
        self, requests: Sequence[SampleRequest], *, steps: int, on_step: OnStep, **size: int
    ) -> list[Pixels]:
        self.batches.append([request.seed for request in requests])
        for step in range(steps):
            if not on_step(step + 1, steps):
                raise SamplingCancelledError
        if len(requests) > ROOM:
            raise RuntimeError("out of memory")
        if any(request.seed == BROKEN for request in requests):
            raise FloatingPointError("not finite")
        shape = (size["height"], size["width"], 3)
        return [np.full(shape, request.seed, dtype=np.uint8) for request in requests]

    def gpu_memory(self) -> dict[str, int]:
        return {"allocated": 1, "reserved": 2, "peak": 3}


@pytest.fixture
def prepared(
    generator_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Engine, Model, CollectorRegistry]:
    registry = CollectorRegistry()
    bundle = load_bundle(generator_bundle, "generator")
    settings = GeneratorSettings(bundle=generator_bundle, max_batch=8)
    engine = Engine(bundle, settings, GeneratorMetrics(bundle, registry))
    model = Model()
    monkeypatch.setattr(engine, "_load", lambda: model)
    return engine, model, registry


def run(engine: Engine, test: Callable[[], Any]) -> None:
    async def whole() -> None:
        await engine.open()
        await asyncio.wait_for(test(), 20)
        engine.close()

    asyncio.run(whole())


def requests(*seeds: int) -> list[SampleRequest]:
    return [SampleRequest("a vase", seed, 5.0) for seed in seeds]


def test_a_batch_that_does_not_fit_is_halved_until_it_does(
    prepared: tuple[Engine, Model, CollectorRegistry],
) -> None:
    engine, model, registry = prepared

    async def test() -> None:
        made = await engine.make(requests(*range(7)), steps=2)
        assert [int(pixels[0, 0, 0]) for pixels in made] == list(range(7))

    run(engine, test)
    assert [len(batch) for batch in model.batches] == [7, 3, 1, 2, 4, 2, 2]
    assert registry.get_sample_value("porcelain_generated_pictures_total") == 7
    assert registry.get_sample_value("porcelain_generation_failures_total") == 0
    memory = {"kind": "peak"}
    assert registry.get_sample_value("porcelain_gpu_memory_bytes", memory) == 3


def test_a_picture_that_cannot_be_made_harms_its_own_request_alone(
    prepared: tuple[Engine, Model, CollectorRegistry],
) -> None:
    engine, _, registry = prepared

    async def test() -> None:
        good, bad, other = await asyncio.gather(
            engine.make(requests(1, 2), steps=2),
            engine.make(requests(BROKEN), steps=2),
            engine.make(requests(3), steps=2),
            return_exceptions=True,
        )
        assert isinstance(bad, FloatingPointError)
        assert isinstance(good, list)
        assert isinstance(other, list)
        assert [int(p[0, 0, 0]) for p in (*good, *other)] == [1, 2, 3]

    run(engine, test)
    assert registry.get_sample_value("porcelain_generation_failures_total") == 1
    assert registry.get_sample_value("porcelain_generated_pictures_total") == 3


def test_closing_stops_what_is_left(
    prepared: tuple[Engine, Model, CollectorRegistry],
) -> None:
    engine, _, registry = prepared

    async def test() -> None:
        work = asyncio.create_task(engine.make(requests(1, 2), steps=1_000_000_000))
        await asyncio.sleep(0.1)
        engine.close()
        with pytest.raises(StoppedError):
            await work

    run(engine, test)
    assert registry.get_sample_value("porcelain_generation_dropped_total") == 2
