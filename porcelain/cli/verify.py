"""`porcelain verify`: what tells that a picture was made by a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from porcelain.verification import Examination


def verify(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Pictures.")],
    trust: Annotated[
        Path | None,
        typer.Option(help="Certificates (PEM) whose content credentials are trusted."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print findings as JSON.")] = False,
) -> None:
    """Say of each picture whether anything tells that a model made it.

    Looked at: the mark in its metadata (IPTC digital source type), signed content credentials
    (C2PA) and the invisible watermark, with the most that chance explains of it. That nothing is
    found does not prove a photograph.

    Ends with status 0 where nothing was found, 1 where something was, or credentials are invalid,
    and 2 where a file cannot be read.

    Example: porcelain verify synthetic/images/*.png --trust signing/certificate.pem
    """
    import json

    from porcelain.errors import UserError
    from porcelain.verification import examine

    try:
        trusted = trust.read_bytes() if trust else None
        found = {str(path): examine(path.read_bytes(), trusted=trusted) for path in files}
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}.") from error
    if as_json:
        typer.echo(json.dumps([{"file": name, **one.to_json()} for name, one in found.items()]))
    else:
        for name, one in found.items():
            typer.echo(f"{name}: {_told(one)}")
    if any(one.problem for one in found.values()):
        raise typer.Exit(2)
    if any(one.synthetic or one.credentials.state == "invalid" for one in found.values()):
        raise typer.Exit(1)


def _told(found: Examination) -> str:
    """The findings in one line."""
    credentials = found.credentials
    signed = f"content credentials {credentials.state}"
    if credentials.signer:
        signed += f" (signed by {credentials.signer})"
    if credentials.state == "invalid":
        signed += f" ({', '.join(credentials.problems)})"
    if found.watermark is None:
        seen = found.problem or "pixels not read"
    else:
        there = "watermark" if found.watermark.present else "no watermark"
        seen = f"{there} (chance explains it at most {found.watermark.false_alarm:.2g})"
    verdict = "made by a model" if found.synthetic else "nothing tells that a model made it"
    return f"{verdict}; {'marked' if found.marked else 'no mark'} in metadata; {signed}; {seen}"
