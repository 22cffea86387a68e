from __future__ import annotations

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.forms import parse_form
from services.problems import Problem

NAMES = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=12)


def encode(files: list[tuple[str, bytes]], fields: dict[str, str]) -> tuple[str, bytes]:
    """A form as httpx encodes it."""
    request = httpx.Request(
        "POST",
        "http://test",
        files=[(name, ("a.jpg", data, "image/jpeg")) for name, data in files],
        data=fields,
    )
    return request.headers["content-type"], request.read()


@settings(max_examples=60, deadline=None)
@given(
    files=st.lists(st.tuples(NAMES, st.binary(max_size=400)), min_size=1, max_size=5),
    fields=st.dictionaries(NAMES, st.text(max_size=30), max_size=3),
)
def test_what_a_client_encodes_comes_back(
    files: list[tuple[str, bytes]], fields: dict[str, str]
) -> None:
    form = parse_form(*encode(files, fields), max_parts=10)
    assert [(part.name, part.data) for part in form.files] == files
    assert form.fields == {
        key: value.encode("utf-8", "replace").decode() for key, value in fields.items()
    }


def status_of(body: bytes) -> int:
    try:
        parse_form("multipart/form-data; boundary=x", body, max_parts=3)
    except Problem as problem:
        return int(problem.http_status)
    return 200


@settings(max_examples=100, deadline=None)
@given(body=st.binary(max_size=300))
def test_any_bytes_give_a_form_or_a_problem(body: bytes) -> None:
    for content in (body, b"--x\r\n" + body, b"--x\r\n" + body + b"\r\n--x--\r\n"):
        assert status_of(content) in (200, 400, 413)


def test_a_boundary_inside_a_file_does_not_split_it() -> None:
    data = b"--x\n--x--\r\n-x\r\n--y\r\n" * 50
    body = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    form = parse_form("multipart/form-data; boundary=x", body + data[:3] + b"\r\n--x--\r\n", 2)
    assert form.files[0].data == data[:3]
    kind, encoded = encode([("image", data)], {})
    assert parse_form(kind, encoded, 2).files[0].data == data


def test_a_file_needs_no_name_when_its_type_says_what_it_is() -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="image"\r\nContent-Type: %s\r\n\r\na\r\n--x--'
    )
    kind = "multipart/form-data; boundary=x"
    assert parse_form(kind, body % b"image/jpeg", 2).files[0].data == b"a"
    assert parse_form(kind, body % b"text/plain", 2).fields == {"image": "a"}


@pytest.mark.parametrize(
    ("fields", "status"), [([("a", "1"), ("a", "2")], 400), ([("a", "x" * 2000)], 413)]
)
def test_text_fields_are_single_and_short(fields: list[tuple[str, str]], status: int) -> None:
    part = '--x\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    body = "".join(part.format(*field) for field in fields) + "--x--\r\n"
    with pytest.raises(Problem) as refused:
        parse_form("multipart/form-data; boundary=x", body.encode(), 4)
    assert refused.value.http_status == status
