"""Who the studio answers: its own pages under its own names, and nobody else's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.studio.origin import OwnPagesOnly
from services.studio.settings import StudioSettings


def status(kind: str, host: str, origin: str | None, names: tuple[str, ...] = ()) -> int:
    """What a request, or the opening of a WebSocket, is answered."""
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {}

    headers = [(b"host", host.encode())]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    scope = {"type": kind, "method": "POST", "path": "/", "headers": headers}
    asyncio.run(OwnPagesOnly(app, names)(scope, receive, send))
    return 403 if sent[0]["type"] == "websocket.close" else int(sent[0]["status"])


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("host", "origin", "expected"),
    [
        ("127.0.0.1:3002", "http://127.0.0.1:3002", 200),
        ("127.0.0.1:3002", None, 200),
        ("localhost:3002", "http://localhost:3002", 200),
        ("[::1]:3002", "http://[::1]:3002", 200),
        ("10.0.0.7", "http://10.0.0.7", 200),
        ("127.0.0.1:3002", "http://evil.example", 403),
        ("127.0.0.1:3002", "http://127.0.0.1:8080", 403),
        ("localhost:3002", "http://localhost:5000", 403),
        ("127.0.0.1:3002", "null", 403),
        ("127.0.0.1:3002", "", 403),
        ("127.0.0.1:3002", "http://[", 403),
        ("evil.example:3002", "http://evil.example:3002", 403),  # a name made to point here
        ("evil.example", None, 403),
        ("", None, 403),
        ("studio.museum.example", "https://studio.museum.example", 200),
        ("Studio.Museum.example", "https://studio.museum.example", 200),
        ("10.0.0.7:3002", "https://studio.museum.example", 200),  # a proxy wrote the host anew
        ("studio.museum.example", "https://other.museum.example", 403),
    ],
)
def test_other_sites_and_strange_names_are_refused(
    kind: str, host: str, origin: str | None, expected: int
) -> None:
    assert status(kind, host, origin, ("studio.museum.example",)) == expected


def test_names_are_read_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORCELAIN_STUDIO_HOSTS", "studio.museum.example, studio,")
    assert StudioSettings().host_names == ("studio.museum.example", "studio")
