"""The process above the workers, without any."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from circus.arbiter import Arbiter
from tornado.ioloop import IOLoop

from services.draining import FOLDER, STOPPING
from services.supervision import AGAIN_SECONDS, PrivateArbiter


def test_told_to_stop_while_it_replaces_a_worker_it_stops_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    stopped = []
    monkeypatch.setattr(Arbiter, "stop", lambda arbiter: stopped.append(arbiter))

    async def work() -> None:
        arbiter = PrivateArbiter([], loop=IOLoop.current())
        arbiter._exclusive_running_command = "manage_watchers"
        arbiter.stop()
        await asyncio.sleep(3 * AGAIN_SECONDS)
        assert not (tmp_path / STOPPING).exists()  # workers would think that all stop
        arbiter._exclusive_running_command = None
        await asyncio.sleep(3 * AGAIN_SECONDS)
        assert stopped == [arbiter]
        assert (tmp_path / STOPPING).exists()

    asyncio.run(work())
