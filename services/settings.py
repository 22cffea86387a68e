"""Reading settings from `PORCELAIN_*` environment variables, with one clear line for a bad one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from porcelain.cores import available_cores
from porcelain.errors import UserError

PREFIX = "PORCELAIN_"


class ServiceSettings(BaseSettings):
    """What both services have; each field is read from `PORCELAIN_` + its name in capitals.

    Attributes:
        bundle: The bundle folder to serve.
        workers: Worker processes, with one thread for the model each; 0 means one per core that
            this process may use.
        max_concurrency: Requests in progress per worker; beyond it 429 at once.
        max_buffered_bytes: Bytes of request bodies held per worker, most of them in temporary
            files; beyond it 429.
        upload_seconds: How long a request's body may take to arrive.
        shutdown_seconds: After being told to stop, how long requests in progress may take.
        key_file: A file with a line per bearer key, `NAME sha256:HEX` (`porcelain serve key`); read
            again when it changes. None lets everyone call.
        cors_origins: Origins, with commas between, whose pages may call from a browser; none by
            default.
        trace_share: Share of requests that are traced, where OTEL_EXPORTER_OTLP_ENDPOINT names a
            collector.
        log_requests: Log one JSON line per request.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    bundle: Path
    workers: int = Field(0, ge=0, le=256)
    max_concurrency: int = Field(256, ge=1)
    max_buffered_bytes: int = Field(512 * 1024 * 1024, ge=1024)
    upload_seconds: float = Field(60.0, gt=0)
    shutdown_seconds: int = Field(30, ge=1)
    key_file: Path | None = None
    cors_origins: str = ""
    trace_share: float = Field(1.0, gt=0, le=1)
    log_requests: bool = True

    @property
    def worker_count(self) -> int:
        """`workers`, or one per core."""
        return self.workers or available_cores()


Settings = TypeVar("Settings", bound=BaseSettings)


def load_settings(kind: type[Settings], **otherwise: object) -> Settings:
    """Read settings from the environment.

    Args:
        kind: Whose settings.
        otherwise: Values for those that the environment lacks; None gives none.

    Raises:
        UserError: A variable is missing or has a value that it cannot have.
    """
    lacking: dict[str, Any] = {
        name: str(value)
        for name, value in otherwise.items()
        if value is not None and not os.environ.get(PREFIX + name.upper())
    }
    try:
        return kind(**lacking)
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + "_".join(str(part) for part in first["loc"]).upper()
        if first["type"] == "missing":
            raise UserError(f"The environment variable {name} must be set.") from error
        raise UserError(f"{name}={first['input']} cannot be used: {first['msg']}.") from error


def environment_of(**values: object) -> dict[str, str]:
    """The environment variables that carry `values`; those that are None are left out."""
    return {PREFIX + key.upper(): str(value) for key, value in values.items() if value is not None}
