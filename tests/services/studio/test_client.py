"""What the studio asks and what it makes of answers and refusals."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Callable

import httpx
import pytest

from porcelain.errors import UserError
from services.settings import load_settings
from services.studio.classify_tab import percent
from services.studio.client import ClassifierClient, ServiceError
from services.studio.settings import StudioSettings
from services.studio.table import answers_csv
from tests.services.studio.answers import answer

Handler = Callable[[httpx.Request], httpx.Response]


def ask(handler: Handler) -> dict[str, object]:
    """The answer to a picture; `handler` answers that question alone."""

    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={}) if request.method == "GET" else handler(request)

    transport = httpx.MockTransport(handle)
    client = ClassifierClient("classifier", "http://test", "secret", transport=transport)
    return asyncio.run(client.classify(b"picture", explain=True))


def test_the_key_and_the_options_are_sent() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer secret"
        assert b"picture" in request.read()
        assert b"explain" in request.content
        return httpx.Response(200, json={"fine": True})

    assert ask(handle) == {"fine": True}


def test_a_refusal_is_the_services_own_sentence() -> None:
    with pytest.raises(ServiceError, match=r"^No picture\.$"):
        ask(lambda _: httpx.Response(415, json={"detail": "No picture."}))


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (httpx.Response(401, json={"detail": "x"}), "asks for a key"),
        (httpx.Response(502, text="<html>"), "status 502"),
        (httpx.Response(200, text="<html>"), "is no classifier"),
        (httpx.Response(200, json=[]), "is no classifier"),
        (httpx.Response(302, headers={"location": "http://elsewhere"}), "status 302"),
    ],
)
def test_what_is_no_answer_is_one_clear_sentence(response: httpx.Response, said: str) -> None:
    with pytest.raises(ServiceError, match=said):
        ask(lambda _: response)


@pytest.mark.parametrize(
    ("error", "said"),
    [(httpx.ConnectError("x"), "cannot be reached"), (httpx.ReadTimeout("x"), "took too long")],
)
def test_a_service_that_is_down_is_said(error: Exception, said: str) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(ServiceError, match=said):
        ask(fail)


def test_the_table_opens_in_a_spreadsheet_and_runs_no_formula() -> None:
    found = answer(0.6, 0.3, 0.1, abstained=True, in_domain={"value": False, "score": 0.2})
    text = answers_csv([("=cmd()", found), ("b.jpg", "Broken, alas.")]).decode("utf-8-sig")
    row, failed = csv.DictReader(io.StringIO(text))
    assert row["file_name"] == "'=cmd()"
    assert (row["dynasty"], row["dynasty_probability"]) == ("a", "0.6")
    assert row["dynasty_not_sure"] == "True"
    assert row["in_domain"] == "False"
    assert row["error"] == failed["dynasty"] == ""
    assert (failed["file_name"], failed["error"]) == ("b.jpg", "Broken, alas.")


@pytest.mark.parametrize(
    ("probability", "said"),
    [(1.0, "> 99 %"), (0.994, "99 %"), (0.5, "50 %"), (0.006, "1 %"), (0.0, "< 1 %")],
)
def test_no_answer_is_said_to_be_certain(probability: float, said: str) -> None:
    assert percent(probability) == said


def test_an_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORCELAIN_CLASSIFIER_URL", "file:///etc/passwd")
    with pytest.raises(UserError, match="give an address such as"):
        load_settings(StudioSettings)
