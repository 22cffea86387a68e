"""Where Prometheus' own tools are."""

from __future__ import annotations

import shutil

import pytest


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: `make prometheus` (Debian: apt install prometheus)")
    return found


@pytest.fixture
def promtool() -> str:
    return tool("promtool")


@pytest.fixture(scope="session")
def prometheus() -> str:
    return tool("prometheus")
