"""Reading a request's pictures and options: a form, or the picture itself as the body."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, Final, TypeVar, cast

from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from services.problems import (
    Problem,
    bad_request,
    problem_of_fields,
    too_large,
    unsupported_type,
    unusable,
)

MULTIPART: Final = "multipart/form-data"
FORM_OVERHEAD: Final = 64 * 1024
"""Bytes of boundaries, part headers and option fields around the pictures."""
MAX_FIELD_BYTES: Final = 1024
_SPOOL_BYTES: Final = 1024 * 1024
_MAX_FIELDS: Final = 300

Options = TypeVar("Options", bound=BaseModel)
Picture = BinaryIO
"""An encoded picture, in memory or, above a megabyte, in a temporary file."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What a request holds.

    Attributes:
        pictures: In order.
        fields: Text fields by name, in order.
    """

    pictures: list[Picture]
    fields: dict[str, list[str]]


@asynccontextmanager
async def read_upload(
    request: Request,
    field: str,
    *,
    max_pictures: int,
    charge: Callable[[int], None],
    raw: bool = False,
) -> AsyncIterator[Upload]:
    """Read a request's body; its files are removed at the end of the block.

    Args:
        request: Whose body is limited in size by its route.
        field: The form's field for pictures.
        max_pictures: Most pictures in one request.
        charge: Called with the bytes as they arrive.
        raw: Whether the body may be the picture itself.

    Raises:
        Problem: 400 a malformed form or a missing field, 413 too large, 415 another content
            type, 422 a picture in a text field.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def receive() -> Message:
        message = await request.receive()
        charge(len(message.get("body", b"")))
        return message

    counted = Request(request.scope, receive)
    form = await _read(counted, kind, field, raw=raw)
    try:
        yield _sorted(form, field, max_pictures)
    finally:
        await form.close()


def merge_options(query: Options, fields: dict[str, list[str]]) -> Options:
    """The options of a request: those of its form come before those of its query.

    Raises:
        Problem: 400, one is unknown, twice there, or of an impossible value.
    """
    kind = type(query)
    given = query.model_dump(include=query.model_fields_set)
    for name, values in fields.items():
        if len(values) > 1:
            raise bad_request("form", f"The field {name!a} is there twice; send it once.")
        given[name] = values[0]
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        names = sorted(kind.model_fields)
        raise problem_of_fields(error.errors(), names, HTTPStatus.BAD_REQUEST) from error


async def _read(request: Request, kind: str, field: str, *, raw: bool) -> FormData:
    if kind == MULTIPART:
        return await _read_form(request)
    if raw and kind.startswith("image/"):
        return FormData([(field, await _read_raw(request))])
    ways = f"{MULTIPART} in the field {field!r}"
    ways += ", or as the body with Content-Type image/*" if raw else ""
    found = ascii(kind) if kind else "an undeclared type"
    raise unsupported_type(f"Send pictures as {ways}; not as {found}.")


async def _read_form(request: Request) -> FormData:
    try:
        # Files beyond what one request may hold are counted by the caller, to be told clearly.
        form = await request.form(max_fields=_MAX_FIELDS, max_part_size=_SPOOL_BYTES)
    except HTTPException as error:
        if error.status_code != HTTPStatus.BAD_REQUEST or isinstance(error, Problem):
            raise
        if "Part exceeded" in error.detail:
            raise unusable(
                "A text field has more than a megabyte; send pictures as files, with a filename.",
                "not_a_file",
            ) from error
        raise bad_request("form", f"The form cannot be read: {error.detail}") from error
    return form


async def _read_raw(request: Request) -> UploadFile:
    file = SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115 - closed with the form
    try:
        async for chunk in request.stream():
            file.write(chunk)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return UploadFile(cast(BinaryIO, file), filename="body")


def _sorted(form: FormData, field: str, max_pictures: int) -> Upload:
    """A form's files and texts, refused where a caller has mistaken one for the other."""
    pictures: list[Picture] = []
    fields: dict[str, list[str]] = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            _check_text(name, value, field)
            fields.setdefault(name, []).append(value)
        elif not value.filename and not value.size:
            continue  # what a browser sends of a file input that was left empty
        elif name == field:
            pictures.append(value.file)
        else:
            raise bad_request(
                "field", f"Unknown file field {name[:50]!a}; send pictures as {field!r}."
            )
    if not pictures:
        raise bad_request("missing_field", f"Send the picture's file in the field {field!r}.")
    if len(pictures) > max_pictures:
        raise too_large(
            f"{len(pictures)} pictures are more than the {max_pictures} that one request may hold; "
            "send several requests."
        )
    return Upload(pictures, fields)


def _check_text(name: str, value: str, field: str) -> None:
    if name == field:
        if not value.isprintable():
            raise unusable(
                f"The field {field!r} has no filename, so it is text; send it as a file, with "
                'filename="..." in its Content-Disposition.',
                "not_a_file",
            )
        raise bad_request(
            "not_a_file",
            f"The field {field!r} is text; send the file's content. URLs and paths are never "
            "fetched.",
        )
    if len(value) > MAX_FIELD_BYTES:
        raise too_large(f"The text field {name[:50]!a} is longer than {MAX_FIELD_BYTES}.")
