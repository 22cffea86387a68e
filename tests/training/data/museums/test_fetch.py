"""Downloads hold their manners and survive what servers do."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import numpy as np
import pytest

from porcelain.errors import UserError
from porcelain.files import sha256_bytes
from tests.training.data.museums.server import Answer, MuseumServer
from training.data.museums.cache import Cache
from training.data.museums.fetch import SILENT, Fetcher, MissingError
from training.data.museums.manners import Manners, retry_after

BODY = bytes(range(256)) * 800


class Clock:
    """Pauses that are told, not waited for."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def fetcher(cache: Cache, clock: Clock) -> Iterator[Fetcher]:
    manners = Manners(
        "porcelain/test (me@example.org)", 1000, {"AIC-User-Agent": "me"}, timeout=0.5
    )
    with Fetcher(manners, cache, clock) as made:
        yield made


def test_an_answer_is_fetched_once_and_says_who_asks(server: MuseumServer, fetcher: Fetcher):
    url = server.picture("/a.jpg", BODY)
    first, second = fetcher.get(url), fetcher.get(url)
    assert first.body.read_bytes() == BODY
    assert first.sha256 == sha256_bytes(BODY) == second.sha256
    assert first.content_type == "image/jpeg"
    assert server.counts() == {"/a.jpg": 1}
    asked = server.asked[0].headers
    assert asked["User-Agent"] == "porcelain/test (me@example.org)"
    assert asked["AIC-User-Agent"] == "me"
    assert fetcher.counts.from_cache == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_it_asks_again_where_that_may_help(server, fetcher, clock, status):
    url = server.picture("/a.jpg", BODY)
    server.fault("/a.jpg", Answer(b"busy", "text/plain", status))
    assert fetcher.get(url).body.read_bytes() == BODY
    assert (fetcher.counts.requests, fetcher.counts.retries) == (2, 1)
    assert any(1 <= pause <= 3 for pause in clock.pauses)


def test_it_waits_as_long_as_the_museum_asks(server, fetcher, clock):
    url = server.picture("/a.jpg", BODY)
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    server.fault(
        "/a.jpg",
        Answer(b"", "text/plain", 429, {"Retry-After": "37"}),
        Answer(b"", "text/plain", 503, {"Retry-After": later}),
    )
    fetcher.get(url)
    waits = [pause for pause in clock.pauses if pause > 5]
    assert waits[0] == 37
    assert 80 <= waits[1] <= 90


def test_a_day_is_too_long_to_wait(server, fetcher):
    url = server.picture("/a.jpg", BODY)
    server.fault("/a.jpg", Answer(b"", "text/plain", 429, {"Retry-After": "86400"}))
    with pytest.raises(UserError, match="1440 minutes"):
        fetcher.get(url)


def test_pauses_grow(server, fetcher, clock):
    server.routes["/a.jpg"] = Answer(b"", "text/plain", 500)
    with pytest.raises(MissingError, match="status 500"):
        fetcher.get(server.url + "/a.jpg")
    assert server.counts()["/a.jpg"] == 6
    waits = [pause for pause in clock.pauses if pause >= 1]
    assert len(waits) == 5
    assert waits[-1] > 2 * waits[0]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_it_does_not_ask_again_in_vain(server, fetcher, status):
    server.routes["/a.jpg"] = Answer(b"", "text/plain", status)
    with pytest.raises(MissingError, match=str(status)):
        fetcher.get(server.url + "/a.jpg")
    assert server.counts()["/a.jpg"] == 1


def test_a_broken_answer_goes_on_where_it_broke(server, fetcher):
    url = server.picture("/a.jpg", BODY)
    server.fault("/a.jpg", Answer(BODY, "image/jpeg", cut=70_000))
    assert fetcher.get(url).sha256 == sha256_bytes(BODY)
    assert fetcher.counts.resumed == 1
    assert int(server.asked[1].headers["Range"].removeprefix("bytes=").rstrip("-")) > 0
    assert fetcher.counts.bytes == len(BODY), "no byte twice"


def test_a_broken_answer_goes_on_in_another_process(server, cache, clock):
    url = server.picture("/a.jpg", BODY)
    server.faults["/a.jpg"] = [Answer(BODY, "image/jpeg", cut=70_000)]
    once = Manners("first", 1000, {}, attempts=1)
    with Fetcher(once, cache, clock) as first, pytest.raises(MissingError):
        first.get(url)
    with Fetcher(once, cache, clock) as second:
        assert second.get(url).sha256 == sha256_bytes(BODY)
        assert second.counts.resumed == 1


def test_a_picture_that_changed_meanwhile_is_fetched_anew(server, fetcher):
    url = server.picture("/a.jpg", BODY[::-1])
    server.fault("/a.jpg", Answer(BODY, "image/jpeg", cut=70_000))
    assert fetcher.get(url).body.read_bytes() == BODY[::-1]


def test_no_continuation_without_a_promise_of_equal_bytes(server, fetcher):
    server.routes["/a.jpg"] = Answer(BODY, "image/jpeg", tagged=False)
    server.fault("/a.jpg", Answer(BODY, "image/jpeg", cut=70_000, tagged=False))
    assert fetcher.get(server.url + "/a.jpg").sha256 == sha256_bytes(BODY)
    assert all("Range" not in asked.headers for asked in server.asked)


def test_a_wrong_continuation_is_refused(server, fetcher):
    url = server.picture("/a.jpg", BODY)
    elsewhere = {"Content-Range": f"bytes 5-{len(BODY) - 1}/{len(BODY)}"}
    server.fault(
        "/a.jpg",
        Answer(BODY, "image/jpeg", cut=70_000),
        Answer(BODY[5:], "image/jpeg", 206, elsewhere),
    )
    assert fetcher.get(url).body.read_bytes() == BODY


def test_a_continuation_beyond_the_end_begins_anew(server, fetcher):
    url = server.picture("/a.jpg", BODY)
    server.fault(
        "/a.jpg",
        Answer(BODY, "image/jpeg", cut=70_000),
        Answer(b"", "text/plain", 416),
    )
    assert fetcher.get(url).body.read_bytes() == BODY


def test_a_slow_server_is_given_up_and_asked_again(server, cache, clock):
    url = server.picture("/a.jpg", BODY)
    server.fault("/a.jpg", Answer(BODY, "image/jpeg", slow=2.5))
    with Fetcher(Manners("x", 1000, {}, timeout=1.0), cache, clock) as hurried:
        assert hurried.get(url).sha256 == sha256_bytes(BODY)
        assert hurried.counts.retries >= 1


def test_what_was_altered_on_disk_is_fetched_again(server, fetcher):
    url = server.picture("/a.jpg", BODY)
    fetcher.get(url).body.write_bytes(b"something else")
    assert fetcher.get(url).body.read_bytes() == BODY
    assert server.counts()["/a.jpg"] == 2


def test_an_old_answer_is_asked_for_only_if_it_changed(server, fetcher):
    url = server.picture("/a.jpg", BODY)
    fetcher.get(url)
    same = fetcher.get(url, max_age=timedelta(0))
    assert "If-None-Match" in server.asked[1].headers
    assert not same.replaced
    server.picture("/a.jpg", BODY[::-1])
    other = fetcher.get(url, max_age=timedelta(0))
    assert other.body.read_bytes() == BODY[::-1]
    assert other.replaced == sha256_bytes(BODY)
    assert fetcher.counts.downloaded == 2


def test_keys_are_sent_and_never_kept(server, fetcher, cache):
    server.json("/list", {"records": []})
    fetcher.json(server.url + "/list?q=China", secret={"api_key": "s3cret"})
    assert server.asked[0].query == {"q": "China", "api_key": "s3cret"}
    kept = b"".join(path.read_bytes() for path in cache.root.rglob("*") if path.is_file())
    assert b"s3cret" not in kept


def test_a_page_in_place_of_json(server, fetcher):
    server.routes["/list"] = Answer(b"<html>Just a moment</html>", "text/html")
    with pytest.raises(MissingError, match="text/html"):
        fetcher.json(server.url + "/list")
    server.json("/list", {"fine": True})
    assert fetcher.json(server.url + "/list") == {"fine": True}, "the page was not kept"


def test_a_redirect_that_leads_nowhere_is_no_picture(server, fetcher):
    for path, location in (("/loop", "/loop"), ("/odd", "http://[nowhere")):
        server.routes[path] = Answer(b"", "text/plain", 302, {"Location": location})
        with pytest.raises(MissingError):
            fetcher.get(server.url + path)


def test_an_address_that_is_none(fetcher):
    with pytest.raises(MissingError, match="no address"):
        fetcher.get("http://museum.example:port/a.jpg")


def test_a_compressed_answer_nobody_asked_for(server, fetcher):
    packed = {"Content-Encoding": "gzip"}
    body = gzip.compress(json.dumps({"fine": True}).encode())
    server.routes["/list"] = Answer(body, headers=packed)
    assert fetcher.json(server.url + "/list") == {"fine": True}
    server.routes["/odd"] = Answer(b"not packed at all", headers=packed)
    with pytest.raises(MissingError):
        fetcher.get(server.url + "/odd")


def test_a_compressed_answer_that_breaks_begins_anew(server, fetcher):
    packed = {"Content-Encoding": "gzip"}
    body = gzip.compress(np.random.default_rng(0).bytes(200_000))
    server.routes["/a.jpg"] = Answer(body, "image/jpeg", headers=packed)
    server.fault("/a.jpg", Answer(body, "image/jpeg", cut=120_000, headers=packed))
    assert fetcher.get(server.url + "/a.jpg").body.read_bytes() == gzip.decompress(body)


def test_too_much_is_not_fetched(server, fetcher):
    url = server.picture("/a.jpg", BODY)
    with pytest.raises(MissingError, match="more than 1,000 bytes"):
        fetcher.get(url, max_bytes=1000)
    assert fetcher.get(url).sha256 == sha256_bytes(BODY)


def test_it_stops_where_a_host_is_down(server, fetcher):
    for number in range(SILENT):
        server.routes[f"/{number}"] = Answer(b"", "text/plain", 500)
        with pytest.raises(MissingError):
            fetcher.get(f"{server.url}/{number}")
    with pytest.raises(UserError, match="later"):
        fetcher.get(server.url + "/next")


def test_requests_keep_their_distance(server, cache, clock):
    for number in (1, 2, 3):
        server.picture(f"/{number}", BODY)
    with Fetcher(Manners("x", 0.1, {}), cache, clock) as slow:
        for number in (1, 2, 3):
            slow.get(f"{server.url}/{number}")
    # Nobody slept, so that the second pause holds both distances of ten seconds.
    first, second = clock.pauses
    assert 5 < first <= 10
    assert 15 < second <= 20


@pytest.mark.parametrize(
    ("value", "expected"),
    [("7", 7.0), (" 7 ", 7.0), ("Sun, 22 Nov 2026 10:00:30 GMT", 30.0), ("", None), ("soon", None)],
)
def test_retry_after(value, expected):
    assert retry_after(value, datetime(2026, 11, 22, 10, tzinfo=UTC)) == expected


PAGE = Answer(b"<!DOCTYPE html><title>Just a moment...</title>", "text/html; charset=utf-8")


@pytest.mark.parametrize("refusal", [Answer(b"", "text/html", 403), PAGE], ids=["403", "page"])
def test_a_museum_that_refuses_is_left_alone(server, fetcher, refusal):
    for number in range(20):
        server.routes[f"/{number}.json"] = refusal
    server.json("/good.json", {"id": 1})
    for number in range(SILENT):
        with pytest.raises(MissingError):
            fetcher.json(f"{server.url}/{number}.json")
    with pytest.raises(UserError, match=r"in a row \(last: .*(403|200).*later, what was fetched"):
        fetcher.json(f"{server.url}/good.json")
    assert server.counts().total() == SILENT


def test_a_refusal_now_and_then_is_no_reason_to_stop(server, fetcher):
    server.json("/good.json", {"id": 1})
    for number in range(3 * SILENT):
        server.routes[f"/{number}.json"] = Answer(b"", "text/plain", 403)
        with pytest.raises(MissingError):
            fetcher.json(f"{server.url}/{number}.json")
        if number % 5 == 0:
            fetcher.again(f"{server.url}/good.json")


def test_json_that_is_declared_a_page_is_json(server, fetcher):
    for number in range(2 * SILENT):
        server.routes[f"/{number}.json"] = Answer(b'{"id": 1}', "text/html")
        assert fetcher.json(f"{server.url}/{number}.json") == {"id": 1}
