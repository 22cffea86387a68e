"""Callers are sent elsewhere before a worker stops, and who is at the door is let in."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from services import draining
from services.draining import FOLDER, QUIET_SECONDS, STOPPING, Drain, all_stop, let_nobody_knock


def seconds_to_empty(drain: Drain, asks: float = 0.0) -> float:
    """How long emptying takes while somebody asks for some seconds."""

    async def empty() -> float:
        begun = time.monotonic()
        emptying = asyncio.create_task(drain.empty())
        while not emptying.done():
            if time.monotonic() - begun < asks:
                drain.asked()
            await asyncio.sleep(0.01)
        return time.monotonic() - begun

    return asyncio.run(empty())


def test_it_ends_soon_when_nobody_asks() -> None:
    drain = Drain(30)
    assert not drain.active
    assert QUIET_SECONDS <= seconds_to_empty(drain) < QUIET_SECONDS + 1
    assert drain.active


def test_it_goes_on_while_somebody_asks_and_then_ends() -> None:
    assert 0.8 + QUIET_SECONDS * 0.9 <= seconds_to_empty(Drain(30), asks=0.8) < 2.5


def test_it_ends_though_somebody_asks_for_ever() -> None:
    assert 0.7 <= seconds_to_empty(Drain(0.7), asks=60) < 1.7


def test_only_a_service_that_stops_as_a_whole_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    assert not all_stop()
    monkeypatch.setenv(FOLDER, str(tmp_path))
    assert not all_stop()
    (tmp_path / STOPPING).touch()
    assert all_stop()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a packet filter of Linux")
def test_who_is_at_the_door_is_let_in_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as accepting:
        monkeypatch.setattr(sys, "argv", ["worker", "--fd", str(accepting.fileno())])
        address = accepting.getsockname()
        with socket.create_connection(address, timeout=5) as early:
            early.sendall(b"request")
            assert let_nobody_knock()
            with pytest.raises(TimeoutError):
                socket.create_connection(address, timeout=0.3)
            inside, _ = accepting.accept()
            with inside:
                assert inside.recv(100) == b"request"
                inside.sendall(b"answer")
                assert early.recv(100) == b"answer"


def test_other_doors_are_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["worker"])
    assert not let_nobody_knock()
    with socket.socket(socket.AF_UNIX) as accepting:
        accepting.bind(str(tmp_path / "door"))
        accepting.listen()
        monkeypatch.setattr(sys, "argv", ["worker", "--fd", str(accepting.fileno())])
        assert not let_nobody_knock()


def test_a_door_that_cannot_be_watched_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's seccomp profile may forbid packet filters."""
    with socket.create_server(("127.0.0.1", 0)) as accepting:
        monkeypatch.setattr(sys, "argv", ["worker", "--fd", str(accepting.fileno())])
        monkeypatch.setattr(socket.socket, "setsockopt", refuse)
        assert not let_nobody_knock()


@pytest.fixture
def terminated() -> Iterator[list[int]]:
    """The signals that reached what SIGTERM did before."""
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = signal.signal(signal.SIGTERM, stop)
    yield received
    signal.signal(signal.SIGTERM, before)


def test_a_worker_stops_whatever_fails_on_the_way(
    terminated: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its supervisor would wait for it for a day."""
    monkeypatch.setattr(draining, "all_stop", refuse)

    async def work() -> None:
        Drain(30).before_stopping()
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(QUIET_SECONDS + 0.5)

    asyncio.run(work())
    assert terminated == [signal.SIGTERM]


def refuse(*_: object) -> bool:
    raise PermissionError("Operation not permitted")
