"""Callers that notice everything: what was answered, refused, turned away or lost.

A client library would retry, pool or time out behind our back; these speak HTTP/1.1 themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import uvloop

from benchmarks.load import BOUNDARY, form_body

Result = TypeVar("Result")

REFUSED: Final = "connection refused"
"""Nobody listens: nothing was sent, and a load balancer asks another replica."""
LOST: Final = "lost"
"""Sent, and not answered: what must not happen."""
PATIENCE: Final = 30.0
IDLE_SECONDS: Final = 2.0
"""A connection unused for longer is not used again: servers end them, here after five seconds."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request.

    Attributes:
        at: When it was due, in seconds of `time.perf_counter`.
        seconds: From then to the end of its answer.
        late: How long after that it was sent: the callers' own delay, on a machine too busy for
            them.
        status: HTTP status; None if there was no answer.
        retry_after: Whether the answer says when to come back.
        error: `REFUSED`, `LOST` with a reason, or empty.
    """

    at: float
    seconds: float
    status: int | None = None
    retry_after: bool = False
    error: str = ""
    late: float = 0.0


@dataclass
class Tally:
    """The outcomes of a load."""

    outcomes: list[Outcome] = field(default_factory=list)

    def statuses(self) -> Counter[str]:
        """Outcomes by status or error."""
        return Counter(str(one.status or one.error) for one in self.outcomes)

    def answered(self, *statuses: int) -> list[Outcome]:
        """Those that were answered so."""
        return [one for one in self.outcomes if one.status in statuses]

    def lost(self) -> list[Outcome]:
        """Those that were sent and never answered."""
        return [one for one in self.outcomes if one.error.startswith(LOST)]

    def between(self, start: float, end: float) -> Tally:
        """Those that were due in this time."""
        return Tally([one for one in self.outcomes if start <= one.at < end])


def percentile(outcomes: Sequence[Outcome], share: float) -> float:
    """The latency in seconds under which this share of them stayed; 0 of none."""
    ordered = sorted(one.seconds for one in outcomes)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def picture_request(picture: bytes, headers: dict[str, str] | None = None) -> bytes:
    """A whole POST /v1/classify."""
    body = form_body(picture)
    lines = {
        "Host": "porcelain",
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        "Content-Length": str(len(body)),
        **(headers or {}),
    }
    head = "POST /v1/classify HTTP/1.1\r\n"
    return (head + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n").encode() + body


def run(load: Coroutine[Any, Any, Result]) -> Result:
    """The result of a load, on an event loop that is fast enough for hundreds of callers."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(load)


class Connection:
    """One kept-alive connection to the first of several ports that answers."""

    def __init__(self, ports: Sequence[int]) -> None:
        """Prefer the first port, as a caller whose load balancer sends it there."""
        self._ports = ports
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._used = 0.0

    async def send(self, request: bytes, due: float | None = None) -> Outcome:
        """Send one request and wait for its answer; never twice."""
        begun = time.perf_counter()
        at = begun if due is None else due
        late = begun - at
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await self._open()
        except (OSError, TimeoutError) as error:
            return Outcome(at, time.perf_counter() - at, error=_refused(error))
        try:
            async with asyncio.timeout(PATIENCE):
                writer.write(request)
                status, retry_after, keep = await _read_answer(reader)
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            self.close()
            reason = f"{LOST}: {type(error).__name__}"
            return Outcome(at, time.perf_counter() - at, error=reason)
        self._used = time.perf_counter()
        if not keep:
            self.close()
        return Outcome(at, time.perf_counter() - at, status, retry_after, late=late)

    def leave_if_idle(self) -> None:
        """Hang up if nothing was sent for a while."""
        if time.perf_counter() - self._used > IDLE_SECONDS:
            self.close()

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is not None and not self._streams[0].at_eof():
            return self._streams
        self.close()
        for port in self._ports:
            try:
                self._streams = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                continue
            return self._streams
        raise ConnectionRefusedError


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, bool, bool]:
    """Status, whether Retry-After is there, and whether the connection stays."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    lines = head.split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
    await reader.readexactly(int(headers.get("content-length", "0")))
    keep = headers.get("connection") != "close"
    return int(lines[0].split()[1]), "retry-after" in headers, keep


def _refused(error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return REFUSED
    return f"{LOST}: no connection, {type(error).__name__}"


async def keep_asking(
    ports: Sequence[int],
    requests: Sequence[bytes],
    connections: int,
    until: Callable[[], bool],
    patient: bool = True,
) -> Tally:
    """Callers that each send their next request when the last is answered.

    Args:
        ports: Of the replicas, the preferred one first.
        requests: Sent in turns.
        connections: How many callers.
        until: Ends the load.
        patient: Wait a second when told to come back later, as callers should.
    """
    tally, place = Tally(), 0

    async def caller() -> None:
        nonlocal place
        connection = Connection(ports)
        while not until():
            place += 1
            outcome = await connection.send(requests[place % len(requests)])
            tally.outcomes.append(outcome)
            if outcome.error == REFUSED:
                await asyncio.sleep(0.02)
            elif patient and outcome.retry_after:
                await asyncio.sleep(1.0)
        connection.close()

    await asyncio.gather(*(caller() for _ in range(connections)))
    return tally


async def ask_at_rate(
    port: int, requests: Sequence[bytes], due: Iterable[float], most: int = 4000
) -> Tally:
    """Callers who come when they come, whether or not others were answered (open loop).

    Args:
        port: Of the service.
        requests: Sent in turns.
        due: When each is to be sent, in seconds of `time.perf_counter`, ascending.
        most: Connections at a time; beyond it requests wait here, and the wait counts.
    """
    tally, idle, tasks = Tally(), list[Connection](), set[asyncio.Task[None]]()
    places = asyncio.Semaphore(most)

    async def send(request: bytes, at: float) -> None:
        async with places:
            connection = idle.pop() if idle else Connection([port])
            connection.leave_if_idle()
            tally.outcomes.append(await connection.send(request, at))
            idle.append(connection)

    for number, at in enumerate(due):
        pause = at - time.perf_counter()
        await asyncio.sleep(max(0.0, pause))
        task = asyncio.create_task(send(requests[number % len(requests)], at))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    for connection in idle:
        connection.close()
    return tally
