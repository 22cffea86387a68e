"""Requests and answers over ASGI, with limits on what is read.

Thinner than a web framework, because on small pictures a framework's share of the time shows.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from services.admission import Reservation
from services.problems import Problem, bad_request, too_large, unsupported_type

T = TypeVar("T")
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON = "application/json"
MAX_QUERY_FIELDS = 20


def _uncounted(_: int) -> None:
    """Where nothing is limited, nothing is counted."""


class ClientGoneError(Exception):
    """The caller hung up before its request was complete; there is nobody to answer."""


@dataclass(slots=True)
class Request:
    """One request; its body is read on demand.

    Attributes:
        headers: By lower-case name; of repeated headers the last.
        client: The caller's address.
        key: The name of the caller's key, where keys are needed.
        id: The request id, from `X-Request-Id` or made.
        reservation: What the body is charged to.
        count_pictures: Counts pictures beyond the first against the caller's rate limit.
    """

    method: str
    path: str
    query_string: bytes
    headers: dict[bytes, bytes]
    id: str
    receive: Receive
    client: str = ""
    key: str | None = None
    reservation: Reservation | None = None
    count_pictures: Callable[[int], None] = _uncounted

    def header(self, name: bytes) -> str:
        """A header's value, or an empty string."""
        return self.headers.get(name, b"").decode("latin-1")

    def content_type(self) -> str:
        """The body's declared type, in lower case, without parameters.

        Raises:
            Problem: 415, the body is compressed.
        """
        encoding = self.header(b"content-encoding").lower()
        if encoding not in ("", "identity"):
            raise unsupported_type(f"Send the body without Content-Encoding {encoding}.")
        return self.header(b"content-type").partition(";")[0].strip().lower()

    async def while_connected(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which is cancelled when the caller hangs up.

        Args:
            work: Begun when the body has been read.

        Raises:
            ClientGoneError: The caller hung up.
        """
        task = asyncio.create_task(work)
        gone = asyncio.create_task(self._gone())
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ClientGoneError
            return task.result()
        finally:
            gone.cancel()
            task.cancel()

    async def _gone(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass

    def query(self) -> list[tuple[str, str]]:
        """The query's fields.

        Raises:
            Problem: 400, too many fields.
        """
        if not self.query_string:
            return []
        try:
            return parse_qsl(
                self.query_string.decode("latin-1"),
                keep_blank_values=True,
                max_num_fields=MAX_QUERY_FIELDS,
            )
        except ValueError as error:
            raise bad_request("query", "The query has too many fields.") from error

    async def body(self, limit: int, timeout: float) -> bytes:
        """Read the whole body.

        Args:
            limit: Most bytes; counted as they arrive.
            timeout: Seconds within which the body must have arrived.

        Raises:
            Problem: 400 bad length, 408 too slow, 413 too many bytes, 429 too many held.
            ClientGoneError: The caller hung up.
        """
        declared = self.headers.get(b"content-length")
        if declared is not None:
            if not declared.isdigit():
                raise bad_request("content_length", "Content-Length must be a whole number.")
            if int(declared) > limit:
                raise _over(limit)
        try:
            async with asyncio.timeout(timeout):
                return await self._read(limit)
        except TimeoutError as error:
            raise Problem(
                HTTPStatus.REQUEST_TIMEOUT,
                "too_slow",
                f"The body did not arrive within {timeout:g} seconds; send it again, faster.",
                {"Connection": "close"},
            ) from error

    async def _read(self, limit: int) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise _over(limit)
            if self.reservation is not None:
                self.reservation.charge(len(chunk))
            chunks.append(chunk)
            if not message.get("more_body", False):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _over(limit: int) -> Problem:
    return too_large(f"The request has more than {limit:,} bytes; send less at a time.")


@dataclass(slots=True)
class Response:
    """One answer, complete in memory."""

    body: bytes
    media_type: str = JSON
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    async def send(self, send: Send, request_id: str, *, close: bool = False) -> None:
        """Send it, marked with the request id; `close` ends the connection after it."""
        headers = [
            (b"content-type", self.media_type.encode()),
            (b"content-length", str(len(self.body)).encode()),
            (b"x-request-id", request_id.encode()),
            (b"x-content-type-options", b"nosniff"),
        ]
        headers += [(k.lower().encode(), v.encode()) for k, v in self.headers.items()]
        if close:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def json_response(value: Any) -> Response:  # noqa: ANN401 - any JSON value
    """A 200 with `value` as JSON."""
    return Response(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
