"""What the generator's OpenAPI document says holds for whatever is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.auth import new_key
from tests.services.documents import requests_that_conform
from tests.services.servers import check_log, start_server


@pytest.mark.slow
def test_whatever_is_sent_is_answered_as_documented(generator_bundle: Path, tmp_path: Path) -> None:
    key, line = new_key("schemathesis")
    (tmp_path / "keys").write_text(line)
    server = start_server(
        generator_bundle,
        tmp_path / "log",
        kind="generator",
        THREADS="1",
        MAX_STEPS="4",
        KEY_FILE=str(tmp_path / "keys"),
    )
    try:
        assert requests_that_conform(server, key, seconds=90) > 100
    finally:
        server.stop()
    check_log(tmp_path / "log")
