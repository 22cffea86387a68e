"""multipart/form-data (RFC 7578), parsed by python-multipart, with limits."""

from __future__ import annotations

from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from services.problems import bad_request, too_large, unsupported_type

MULTIPART = "multipart/form-data"
MAX_FIELD_BYTES = 1024
MAX_PART_HEADERS = 8
MAX_PART_HEADER_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a form.

    Attributes:
        name: The field's name.
        filename: The declared file name; None for a text field.
        data: The content.
    """

    name: str
    filename: str | None
    data: bytes


@dataclass(frozen=True, slots=True)
class Form:
    """A parsed form.

    Attributes:
        fields: Text fields that may be there once.
        files: In order.
        lists: Text fields that may be there several times, in order.
    """

    fields: dict[str, str]
    files: list[Part]
    lists: dict[str, list[str]]


class _Collector:
    """Gathers what the parser calls back with."""

    def __init__(self, max_parts: int) -> None:
        self.parts: list[Part] = []
        self.complete = False
        self._max_parts = max_parts
        self._headers: dict[bytes, str] = {}
        self._name = self._value = b""
        self._chunks: list[bytes] = []

    def part_begin(self) -> None:
        if len(self.parts) >= self._max_parts:
            raise too_large(f"The form has more than {self._max_parts} parts; send fewer.")
        self._headers = {}
        self._name = self._value = b""
        self._chunks = []

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        self._headers[self._name.lower()] = self._value.decode("utf-8", errors="replace")
        self._name = self._value = b""

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self._chunks.append(data[start:end])

    def part_end(self) -> None:
        kind, options = _options(self._headers.get(b"content-disposition", ""))
        if kind != "form-data" or "name" not in options:
            raise bad_request("form", "A part of the form has no name; name each field.")
        filename = options.get("filename")
        declared = self._headers.get(b"content-type", "text/plain").lower()
        if filename is None and not declared.startswith("text/"):
            filename = ""  # RFC 7578, section 4.2: a file's name is optional
        self.parts.append(Part(options["name"], filename, b"".join(self._chunks)))

    def end(self) -> None:
        self.complete = True


def _options(header: str) -> tuple[str, dict[str, str]]:
    kind, options = parse_options_header(header.encode("latin-1", errors="replace"))
    return kind.decode("latin-1"), {
        key.decode("latin-1"): value.decode("latin-1") for key, value in options.items()
    }


def parse_form(
    content_type: str, body: bytes, max_parts: int, repeated: frozenset[str] = frozenset()
) -> Form:
    """Parse a complete body.

    Args:
        content_type: The request's Content-Type, with its boundary.
        body: All of the body.
        max_parts: Most parts.
        repeated: Text fields that may be there several times.

    Raises:
        Problem: 400 malformed, 413 too many parts or too long a field, 415 not a form.
    """
    kind, options = _options(content_type)
    if kind != MULTIPART:
        raise unsupported_type(f"Send {MULTIPART}, not {kind or 'an undeclared type'}.")
    boundary = options.get("boundary", "")
    if not boundary:
        raise bad_request("form", "Content-Type names no boundary; let your client set it.")
    collector = _Collector(max_parts)
    try:
        parser = MultipartParser(
            boundary.encode("latin-1"),
            {
                "on_part_begin": collector.part_begin,
                "on_part_data": collector.part_data,
                "on_part_end": collector.part_end,
                "on_header_field": collector.header_field,
                "on_header_value": collector.header_value,
                "on_header_end": collector.header_end,
                "on_end": collector.end,
            },
            max_header_count=MAX_PART_HEADERS,
            max_header_size=MAX_PART_HEADER_BYTES,
        )
        parser.write(body)
    except FormParserError as error:
        raise bad_request("form", f"The form is malformed: {error}.") from error
    if not collector.complete:
        raise bad_request("form", "The form ends before its closing boundary; send all of it.")
    return _form(collector.parts, repeated)


def _form(parts: list[Part], repeated: frozenset[str]) -> Form:
    fields: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    for part in parts:
        if part.filename is not None:
            continue
        if len(part.data) > MAX_FIELD_BYTES:
            raise too_large(f"The text field {part.name!r} has more than {MAX_FIELD_BYTES} bytes.")
        text = part.data.decode("utf-8", errors="replace")
        if part.name in repeated:
            lists.setdefault(part.name, []).append(text)
        elif part.name in fields:
            raise bad_request("form", f"The field {part.name!r} is there twice; send it once.")
        else:
            fields[part.name] = text
    return Form(fields, [part for part in parts if part.filename is not None], lists)
