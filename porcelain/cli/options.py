"""From options to a settings object, with every mistake told at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from porcelain.errors import UserError

if TYPE_CHECKING:
    from pydantic import BaseModel

Settings = TypeVar("Settings", bound="BaseModel")

Certificate = Annotated[
    Path | None,
    typer.Option(
        envvar="PORCELAIN_CERTIFICATE",
        help="Chain (PEM) that signs each picture's content credentials; none signs nothing.",
    ),
]
CertificateKey = Annotated[
    Path | None,
    typer.Option(envvar="PORCELAIN_CERTIFICATE_KEY", help="The certificate's private key (PEM)."),
]
DemoCertificate = Annotated[
    Path | None,
    typer.Option(
        envvar="PORCELAIN_DEMO_CERTIFICATE",
        metavar="FOLDER",
        help="Sign with a chain of one's own, made in this folder on first use.",
    ),
]


def build_settings(model: type[Settings], **given: object) -> Settings:
    """The settings with every option that was given; None leaves the default.

    Args:
        model: The settings' class; its fields are named as the options are.
        given: Values by field.

    Raises:
        UserError: Naming every option that is out of range.
    """
    from pydantic import ValidationError

    try:
        return model.model_validate({k: v for k, v in given.items() if v is not None})
    except ValidationError as error:
        faults = "; ".join(
            f"--{'-'.join(str(part) for part in fault['loc']).replace('_', '-')}: {fault['msg']}"
            for fault in error.errors()
        )
        raise UserError(faults) from error
