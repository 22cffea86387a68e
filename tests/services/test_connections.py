"""What one connection may cost: heads, silence, answers that nobody reads, too many of them."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import pictures
from tests.services.servers import Server, check_log, start_server

HEAD_SECONDS = 1.0
MOST = 20


@pytest.fixture(scope="module")
def limited(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One worker with little patience."""
    log = tmp_path_factory.mktemp("limited") / "log"
    server = start_server(
        bundle,
        log,
        *("--workers", "1"),
        MAX_CONNECTIONS=str(MOST),
        MAX_HEADER_BYTES="8192",
        HEADER_SECONDS=str(HEAD_SECONDS),
        UPLOAD_SECONDS="1.5",
        SEND_SECONDS="2",
    )
    yield server
    server.stop()
    check_log(log)


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=10)


def send_on(connection: socket.socket, data: bytes) -> None:
    """Send the same over and over, for as long as a test has patience."""
    begun = time.monotonic()
    while time.monotonic() - begun < 15:
        connection.sendall(data)
        time.sleep(0.01)


def received(connection: socket.socket) -> bytes:
    """All that comes until the other end hangs up."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def received_until(connection: socket.socket, end: bytes) -> bytes:
    """What comes up to an end, in however many packets, or until the other end hangs up."""
    text = b""
    while end not in text and (part := connection.recv(4096)):
        text += part
    return text


def answer(connection: socket.socket) -> tuple[int, dict[str, str], dict[str, object]]:
    """Status, headers and problem of the one answer before the other end hangs up."""
    head, _, body = received(connection).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    problem = json.loads(body)
    assert headers["content-type"] == "application/problem+json"
    assert problem["request_id"] == headers["x-request-id"]
    assert problem["status"] == int(first.split()[1])
    return int(first.split()[1]), headers, problem


@pytest.mark.parametrize(
    "head",
    [
        b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * 20_000,  # and never an end
        b"GET /livez?" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n" + b"X-Many: x\r\n" * 2_000 + b"\r\n",
    ],
)
def test_a_long_head_is_refused_at_once(limited: Server, head: bytes) -> None:
    begun = time.monotonic()
    with connect(limited) as connection:
        connection.sendall(head)
        status, headers, _ = answer(connection)
    assert status == 431
    assert headers["connection"] == "close"
    assert time.monotonic() - begun < HEAD_SECONDS


@pytest.mark.parametrize(
    "text", [b"\0\1\2", b"GET\r\n\r\n", b"\x16\x03\x01 a TLS hello", b"\r\n" * 9]
)
def test_what_is_no_http_is_refused_or_dropped(limited: Server, text: bytes) -> None:
    with connect(limited) as connection:
        connection.sendall(text + b" / FTP/9\r\n\r\n")
        status, _, _ = answer(connection)
    assert status == 400
    assert limited.get("/livez").status_code == 200


def test_a_head_must_arrive_in_time(limited: Server) -> None:
    with connect(limited) as slow, connect(limited) as silent:
        begun = time.monotonic()
        slow.sendall(b"GET /livez HTTP/1.1\r\n")
        for letter in b"X-Slow: attack":
            time.sleep(0.02)
            slow.sendall(bytes([letter]))
        status, _, _ = answer(slow)
        assert status == 408
        assert received(silent) == b""
        assert HEAD_SECONDS * 0.8 < time.monotonic() - begun < HEAD_SECONDS + 1.5


def test_a_second_request_must_arrive_in_time_too(limited: Server) -> None:
    with connect(limited) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"alive" in received_until(connection, b"alive")
        connection.sendall(b"GET /livez HTTP/1.1\r\n")
        begun = time.monotonic()
        assert b"408" in received(connection)
        assert time.monotonic() - begun < HEAD_SECONDS + 1.5


def test_one_connection_too_many_is_told_so(limited: Server) -> None:
    with ExitStack() as stack:
        held = [stack.enter_context(connect(limited)) for _ in range(MOST + 5)]
        # First: an answered connection that closes would make room for the last.
        status, headers, _ = answer(held[-1])
        assert status == 503
        assert int(headers["retry-after"]) >= 1
        held[0].sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in received(held[0])
    assert limited.get("/livez").status_code == 200


def test_a_few_requests_sent_ahead_are_answered_in_order(limited: Server) -> None:
    paths = [b"/livez", b"/nowhere", b"/readyz"]
    ahead = b"".join(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n" for path in paths)
    with connect(limited) as connection:
        last = b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        connection.sendall(ahead + last)
        text = received(connection)
    assert [part[:3] for part in text.split(b"HTTP/1.1 ")[1:]] == [b"200", b"404", b"200", b"200"]


def test_who_sends_thousands_of_requests_ahead_is_refused_at_once(limited: Server) -> None:
    begun = time.monotonic()
    with connect(limited) as connection:
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 3000)
        status, headers, _ = answer(connection)
    assert status == 429
    assert headers["retry-after"] == "1"
    assert headers["connection"] == "close"
    assert time.monotonic() - begun < HEAD_SECONDS
    assert limited.get("/livez").status_code == 200


@pytest.mark.slow
def test_who_reads_no_answers_is_hung_up_on(limited: Server) -> None:
    request = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"
    with connect(limited) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(15)
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            send_on(connection, request * 100)
    assert limited.get("/livez").status_code == 200


@pytest.mark.slow
def test_a_refused_body_is_not_read_for_ever(limited: Server) -> None:
    chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
    with connect(limited) as connection:
        connection.sendall(
            b"POST /v1/classify HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        begun = time.monotonic()
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            send_on(connection, chunk)
        assert 4 < time.monotonic() - begun < 9


def test_a_half_open_connection_holds_nobody_up(limited: Server) -> None:
    body = pictures.jpeg()
    head = (
        b"POST /v1/classify HTTP/1.1\r\nHost: a\r\nContent-Type: image/jpeg\r\n"
        + f"Content-Length: {len(body)}\r\n\r\n".encode()
    )
    with connect(limited) as half, connect(limited) as stalled:
        half.sendall(head + body)
        half.shutdown(socket.SHUT_WR)  # no more to come, but it still listens
        stalled.sendall(head + body[:10])
        assert limited.classify(pictures.jpeg()).status_code == 200
        begun = time.monotonic()
        assert b"408" in received_until(stalled, b"408")
        assert time.monotonic() - begun < 3
    metrics = limited.metrics()
    assert metrics["porcelain_http_requests_in_progress"] == 0
