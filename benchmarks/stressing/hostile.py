"""Callers who hold connections: slowly, silently, or with far too much to say."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable

from benchmarks.stressing.calling import Tally, keep_asking, percentile, picture_request, run
from benchmarks.stressing.promises import Promise
from benchmarks.stressing.replicas import Setting, replica
from monitoring.objectives import CLASSIFIER

EACH = 40
"""Callers of each kind, at the same time."""
GOOD = 4
LIMITS = {
    "PORCELAIN_HEADER_SECONDS": "5",
    "PORCELAIN_UPLOAD_SECONDS": "5",
    "PORCELAIN_SEND_SECONDS": "5",
}
"""Shorter than by default, so that the measurement is too."""
PATIENCE = 12.0
"""All must be hung up on by then; a body that is refused is read on for five seconds."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def hostile(setting: Setting) -> list[Promise]:
    """Good callers notice nothing, and who holds a connection is hung up on."""
    requests = [picture_request(one) for one in setting.pictures]
    with replica(setting, **LIMITS) as service:
        calm = service.descriptors()
        held, tally = run(_attack(service.port, requests))
        time.sleep(6)
        left = service.descriptors()
        stuck = service.metric("porcelain_http_requests_in_progress")
    good = tally.answered(200)
    p99 = percentile(good, 0.99)
    return [
        *(
            Promise(
                f"{kind}: hung up on within {PATIENCE:.0f} s",
                f"{sum(s < PATIENCE for s in seconds)} of {len(seconds)}, the last after "
                f"{max(seconds):.1f} s",
                max(seconds) < PATIENCE,
            )
            for kind, seconds in held.items()
        ),
        Promise(
            "meanwhile every good request is answered",
            f"{len(good)} of {len(tally.outcomes)}: {dict(tally.statuses())}",
            len(good) == len(tally.outcomes),
        ),
        Promise(
            f"with a p99 of at most {CLASSIFIER.seconds:g} s",
            f"{p99:.3f} s",
            p99 <= CLASSIFIER.seconds,
        ),
        Promise("nothing stays open", f"{calm} descriptors, then {left}", left <= calm + 4),
        Promise("nothing stays in progress", f"{stuck:.0f}", stuck == 0),
    ]


async def _attack(port: int, requests: list[bytes]) -> tuple[dict[str, list[float]], Tally]:
    kinds: dict[str, Callable[[Streams], Awaitable[None]]] = {
        "headers byte by byte": _slow_head,
        "a body byte by byte": _slow_body,
        "nothing at all": _silence,
        "half a request, then silence": _half,
        "answers that are not read": _unread,
        "thousands of requests ahead": _ahead,
        "headers without end": _endless_head,
        "a body without end": _endless_body,
    }
    attacks = {
        kind: [asyncio.create_task(_held(port, attack)) for _ in range(EACH)]
        for kind, attack in kinds.items()
    }
    tasks = [task for one in attacks.values() for task in one]
    tally = await keep_asking([port], requests, GOOD, lambda: all(task.done() for task in tasks))
    return {kind: [await task for task in one] for kind, one in attacks.items()}, tally


async def _held(port: int, attack: Callable[[Streams], Awaitable[None]]) -> float:
    """Seconds until the service hung up; `PATIENCE` if it did not."""
    begun = time.perf_counter()
    place = socket.socket()
    place.setblocking(False)
    # A small window: answers that are not read fill it at once, not after megabytes.
    place.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await asyncio.get_running_loop().sock_connect(place, ("127.0.0.1", port))
    streams = await asyncio.open_connection(sock=place, limit=2**12)
    try:
        async with asyncio.timeout(PATIENCE):
            await attack(streams)
    except TimeoutError:
        return PATIENCE
    except (OSError, RuntimeError):  # uvloop raises the latter where the other end has reset
        pass
    finally:
        streams[1].transport.abort()
    return time.perf_counter() - begun


POST = b"POST /v1/classify HTTP/1.1\r\nHost: a\r\nContent-Type: image/jpeg\r\n"


async def _trickle(streams: Streams, head: bytes, data: bytes) -> None:
    reader, writer = streams
    writer.write(head)
    while not (reader.at_eof() or writer.transport.is_closing()):
        writer.write(data)
        await writer.drain()
        try:
            async with asyncio.timeout(0.2):
                await reader.read(4096)
        except TimeoutError:
            continue


async def _slow_head(streams: Streams) -> None:
    await _trickle(streams, POST + b"X-Slow: ", b"x")


async def _slow_body(streams: Streams) -> None:
    await _trickle(streams, POST + b"Content-Length: 100000\r\n\r\n\xff\xd8\xff", b"x")


async def _silence(streams: Streams) -> None:
    await streams[0].read()


async def _half(streams: Streams) -> None:
    streams[1].write(POST + b"Content-Length: 1000\r\n\r\n\xff\xd8\xff")
    await streams[0].read()


async def _unread(streams: Streams) -> None:
    writer = streams[1]
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # of transports that read
    request = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 10
    while not writer.transport.is_closing():
        writer.write(request)
        await writer.drain()
        await asyncio.sleep(0.05)
    raise ConnectionResetError


async def _ahead(streams: Streams) -> None:
    await _pour(streams, b"", b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)


async def _endless_head(streams: Streams) -> None:
    await _pour(streams, POST, b"X-More: " + b"x" * 4000 + b"\r\n")


async def _endless_body(streams: Streams) -> None:
    chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
    await _pour(streams, POST + b"Transfer-Encoding: chunked\r\n\r\n", chunk)


async def _pour(streams: Streams, head: bytes, data: bytes) -> None:
    reader, writer = streams
    writer.write(head)
    while not (reader.at_eof() or writer.transport.is_closing()):
        writer.write(data)
        await writer.drain()
        await asyncio.sleep(0.1)
