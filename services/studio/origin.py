"""Who may talk to the studio: its own pages alone, under names that are its own.

Any page that a curator has open could otherwise send requests here, and open the WebSocket, which
NiceGUI lets every origin do. A name of someone else's that is made to point at this machine (DNS
rebinding) is refused too.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

REFUSED = (
    "This request comes from another site, or by a name that the studio does not know. Open the "
    "studio by its IP address or as localhost, or add its name to PORCELAIN_STUDIO_HOSTS."
)


class OwnPagesOnly:
    """Refuses what other sites' pages send, and names that are not the studio's."""

    def __init__(self, app: ASGIApp, names: Iterable[str] = ()) -> None:
        """Guard `app`.

        Args:
            app: Answers what is let through.
            names: Of hosts that the studio is reached by, beside IP addresses and localhost.
        """
        self._app = app
        self._names = frozenset(name.lower() for name in names) | {"localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or connection."""
        if scope["type"] == "lifespan" or self._is_own(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "another site"})
        else:
            await self._refuse(send)

    def _is_own(self, scope: Scope) -> bool:
        headers = {name: value.decode("latin-1") for name, value in scope.get("headers", [])}
        host = _parsed(headers.get(b"host", ""))
        if not (host[0] in self._names or _is_address(host[0])):
            return False
        if b"origin" not in headers:
            return True
        scheme, _, authority = headers[b"origin"].partition("://")
        origin = _parsed(authority)
        return origin[0] in self._names - {"localhost"} or (
            origin[0] == host[0] and _port(origin[1], scheme) in _ports(host[1])
        )

    async def _refuse(self, send: Send) -> None:
        start = {
            "type": "http.response.start",
            "status": int(HTTPStatus.FORBIDDEN),
            "headers": [(b"content-type", b"text/plain; charset=utf-8")],
        }
        await send(start)
        await send({"type": "http.response.body", "body": REFUSED.encode()})


def _parsed(authority: str) -> tuple[str, int | None]:
    """Host in lower case, and the port that is written; nothing of what cannot be read."""
    try:
        parts = urlsplit(f"//{authority}")
        return (parts.hostname or "").lower(), parts.port
    except ValueError:
        return "", None


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _port(port: int | None, scheme: str) -> int:
    return port or (443 if scheme == "https" else 80)


def _ports(port: int | None) -> tuple[int, ...]:
    """What a Host header means; a proxy in front may have ended TLS."""
    return (port,) if port else (80, 443)
