from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.training.data.museums.server import MuseumServer, running


@pytest.fixture
def server() -> Iterator[MuseumServer]:
    with running() as museum:
        yield museum
