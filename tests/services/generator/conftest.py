"""A generator bundle with random weights, and a real server that serves it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.services.servers import Server, check_log, start_server


@dataclass
class GeneratorServer:
    """A running generator, and how to ask it."""

    running: Server

    def generate(self, accept: str = "", **fields: Any) -> httpx.Response:
        headers = {"Accept": accept} if accept else {}
        return self.running.request("POST", "/v1/generate", json=fields, headers=headers)

    def image(self, **fields: Any) -> dict[str, Any]:
        """The only picture of an answer."""
        response = self.generate(**fields)
        assert response.status_code == 200, response.text
        (image,) = response.json()["images"]
        assert isinstance(image, dict)
        return image


@pytest.fixture(scope="session")
def generator_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.sampling.tiny_pipeline import make_tiny_pipeline  # imports torch

    return make_tiny_pipeline(tmp_path_factory.mktemp("generator") / "base")


@pytest.fixture(scope="session")
def generator_bundle(generator_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.sampling.tiny_bundle import make_tiny_bundle

    return make_tiny_bundle(tmp_path_factory.mktemp("generator") / "tiny", generator_base)


@pytest.fixture(scope="session")
def generator(
    generator_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GeneratorServer]:
    """A server with the default limits."""
    log = tmp_path_factory.mktemp("generator") / "log"
    server = start_server(generator_bundle, log, kind="generator", THREADS="1", MAX_STEPS="400")
    yield GeneratorServer(server)
    server.stop()
    check_log(log)
