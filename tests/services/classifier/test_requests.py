"""Requests as real clients send them, odd ones among them."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
from pathlib import Path

import aiohttp
import httpx
import pytest
import requests

from tests import pictures
from tests.services.conftest import Server, start_server

GOOD = pictures.jpeg()
LARGE = pictures.jpeg(pictures.grainy().resize((1600, 1200)), quality=100, subsampling=0)


def post_form(server: Server, *parts: tuple[str, bytes], query: str = "") -> httpx.Response:
    body = b"".join(
        b"--x\r\n" + head.encode() + b"\r\n\r\n" + data + b"\r\n" for head, data in parts
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    content = body + b"--x--\r\n"
    return server.request("POST", f"/v1/classify{query}", content=content, headers=headers)


def field(name: str, more: str = "") -> str:
    return f'Content-Disposition: form-data; name="{name}"{more}'


PICTURE = (field("image", '; filename="a.jpg"'), GOOD)


@pytest.mark.parametrize("data", [GOOD, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("more", ["", "; filename*=utf-8''%E9%9D%92%E8%8A%B1.jpg"])
def test_a_picture_without_a_filename_is_told_how_to_be_a_file(
    server: Server, data: bytes, more: str
) -> None:
    response = post_form(server, (field("image", more), data))
    assert response.status_code == 422
    assert "filename" in response.json()["detail"]


def test_an_option_may_have_a_type_of_its_own(server: Server) -> None:
    typed = field("top_k") + "\r\nContent-Type: application/json"
    response = post_form(server, PICTURE, (typed, b"2"))
    assert len(response.json()["predictions"]["dynasty"]["top"]) == 2


def test_an_empty_file_field_is_ignored(server: Server) -> None:
    for name in ("image", "photo", "top_k"):
        empty = field(name, '; filename=""') + "\r\nContent-Type: application/octet-stream"
        assert post_form(server, PICTURE, (empty, b"")).status_code == 200


def test_a_bad_option_is_told_wherever_it_stands(server: Server) -> None:
    form = (field("watermark"), b"true")
    assert post_form(server, PICTURE, form, query="?watermark=maybe").status_code == 400
    assert post_form(server, PICTURE, form, query="?watermark=false").status_code == 200
    assert post_form(server, PICTURE, form, form).status_code == 400
    assert post_form(server, PICTURE, query="?nonsense=1").status_code == 400


def test_a_browser_elsewhere_may_call_only_where_it_is_let(
    server: Server, bundle: Path, tmp_path: Path
) -> None:
    asked = {"Origin": "https://museum.example", "Access-Control-Request-Method": "POST"}
    assert server.request("OPTIONS", "/v1/classify", headers=asked).status_code == 405
    assert "access-control-allow-origin" not in server.classify(GOOD).headers
    options = {"CORS_ORIGINS": "https://museum.example", "LOG_REQUESTS": "false"}
    letting = start_server(bundle, tmp_path / "log", "--workers", "1", **options)
    try:
        for origin, let in (("https://museum.example", True), ("https://other.example", False)):
            preflight = httpx.options(
                letting.url + "/v1/classify", headers={**asked, "Origin": origin}
            )
            assert (preflight.status_code == 200) is let
            answer = httpx.get(letting.url + "/v1/model", headers={"Origin": origin})
            assert (answer.headers.get("access-control-allow-origin") == origin) is let
        letting.classify(GOOD)
        assert '"message": "request"' not in letting.log.read_text()
    finally:
        letting.stop()


def test_the_usual_clients(server: Server, tmp_path: Path) -> None:
    url = server.url + "/v1/classify"
    files = {"image": ("青花.jpg", GOOD, "image/jpeg")}
    assert requests.post(url, files=files, data={"top_k": "1"}, timeout=60).status_code == 200
    assert httpx.post(url, files=files, data={"top_k": "1"}, timeout=60).status_code == 200

    async def ask() -> int:
        form = aiohttp.FormData()
        form.add_field("image", GOOD, filename="青花.jpg", content_type="image/jpeg")
        form.add_field("top_k", "1")
        async with aiohttp.ClientSession() as session, session.post(url, data=form) as answer:
            await answer.read()
            return answer.status

    assert asyncio.run(ask()) == 200


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(
    "options",
    [
        ["-F", "image=@{file}"],
        ["-H", "Expect: 100-continue", "-F", "image=@{file}"],
        ["-H", "Transfer-Encoding: chunked", "-H", "Content-Type: image/jpeg", "-T", "{file}"],
        ["--http1.0", "-F", "image=@{file}"],
        ["--http1.0", "-H", "Content-Type: image/jpeg", "--data-binary", "@{file}"],
    ],
    ids=["form", "expect", "chunked", "http/1.0 form", "http/1.0"],
)
def test_curl(server: Server, tmp_path: Path, options: list[str]) -> None:
    file = tmp_path / "vase.jpg"
    file.write_bytes(LARGE)
    words = [option.format(file=file) for option in options]
    command = ["curl", "-sS", "-X", "POST", "-m", "60", *words, server.url + "/v1/classify"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=90)
    assert json.loads(done.stdout)["image"]["width"] == 1600


def test_large_answers_are_compressed_where_asked(server: Server) -> None:
    picture = pictures.jpeg(pictures.scene(800, 600))
    headers = {"Content-Type": "image/jpeg", "Accept-Encoding": "gzip"}
    sizes = {}
    for encoding in ("gzip", "identity"):
        headers["Accept-Encoding"] = encoding
        url = server.url + "/v1/classify?explain=true"
        with httpx.stream("POST", url, content=picture, headers=headers, timeout=60) as answer:
            assert answer.headers.get("content-encoding", "identity") == encoding
            sizes[encoding] = sum(map(len, answer.iter_raw()))
    assert sizes["gzip"] < sizes["identity"] * 0.9
    assert "content-encoding" not in server.classify(GOOD).headers


def test_docs_load_nothing_from_elsewhere(server: Server) -> None:
    page = server.get("/docs").text
    assert "https://" not in page
    assert "http://" not in page
    script = page.partition('<script src="')[2].partition('"')[0]
    assert len(server.get(script).content) > 100_000


def test_nothing_is_computed_for_a_caller_that_has_hung_up(bundle: Path, tmp_path: Path) -> None:
    # Slow pictures: eight at once wait behind each other.
    slow = pictures.encode(pictures.scene(4000, 3000), "PNG", compress_level=1)
    server = start_server(bundle, tmp_path / "log", "--workers", "1", MAX_WAIT_SECONDS="60")
    try:
        head = (
            f"POST /v1/classify HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\n"
            f"Content-Length: {len(slow)}\r\n\r\n"
        )
        with _connections(server, 8) as callers:
            for caller in callers:
                caller.sendall(head.encode() + slow)
        # All have hung up; what was not begun is not done.
        while server.metrics()["porcelain_http_requests_in_progress"]:
            pass
        after = server.metrics()
        done = after['porcelain_stage_duration_seconds_count{stage="inference"}']
        assert done < 5
        left = after['porcelain_http_requests_total{route="/v1/classify",status="499"}']
        assert left >= 3
    finally:
        server.stop()


class _connections:  # noqa: N801 - reads as a function
    """Connections that are closed at once, at the end of the block."""

    def __init__(self, server: Server, count: int) -> None:
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        self._all = [socket.create_connection(address) for _ in range(count)]

    def __enter__(self) -> list[socket.socket]:
        return self._all

    def __exit__(self, *_: object) -> None:
        for one in self._all:
            one.close()
