"""Reading settings from `PORCELAIN_*` environment variables, with one clear line for a bad one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from porcelain.cores import available_cores
from porcelain.errors import UserError

PREFIX = "PORCELAIN_"


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds of one connection.

    Attributes:
        most: Connections that a worker keeps at a time.
        head_bytes: Most bytes of a request's first line and headers.
        head_seconds: Within which these must arrive, from the connection's or its first byte on.
        send_seconds: For how long a caller may leave an answer unread.
    """

    most: int = 512
    head_bytes: int = 32 * 1024
    head_seconds: float = 10.0
    send_seconds: float = 60.0


class ServiceSettings(BaseSettings):
    """What both services have; each field is read from `PORCELAIN_` + its name in capitals.

    Attributes:
        bundle: The bundle folder to serve.
        workers: API worker processes; 0 means one per core that this process may use.
        max_concurrency: Requests in progress per worker; beyond it 429 at once.
        max_buffered_bytes: Bytes of request bodies held per worker; beyond it 429.
        max_connections: Connections kept per worker; beyond it 503 at once.
        max_header_bytes: Most bytes of a request's first line and headers; beyond it 431.
        header_seconds: How long these may take to arrive.
        upload_seconds: How long a request's body may take to arrive.
        send_seconds: How long a caller may leave its answer unread.
        drain_seconds: After being told to stop, how long at most to answer new requests, each time
            ending the connection; it ends earlier when nobody asks.
        shutdown_seconds: How long requests in progress may take to finish after that.
        key_file: A file with a line per bearer key, `NAME sha256:HEX` (`porcelain serve key`); read
            again when it changes. None lets everyone call.
        rate_limit: Pictures per second that each key may ask for, or each client address where
            there are no keys; beyond it 429. All workers count together, replicas do not. 0 limits
            nobody.
        rate_burst: Pictures that it may ask for at once after a pause.
        log_requests: Log one JSON line per request.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    bundle: Path
    workers: int = Field(0, ge=0, le=256)
    max_concurrency: int = Field(256, ge=1)
    max_buffered_bytes: int = Field(512 * 1024 * 1024, ge=1024)
    max_connections: int = Field(512, ge=1)
    max_header_bytes: int = Field(32 * 1024, ge=1024)
    header_seconds: float = Field(10.0, gt=0)
    upload_seconds: float = Field(60.0, gt=0)
    send_seconds: float = Field(60.0, ge=1)
    drain_seconds: float = Field(3.0, ge=0)
    shutdown_seconds: int = Field(30, ge=1)
    key_file: Path | None = None
    rate_limit: float = Field(0.0, ge=0)
    rate_burst: int = Field(64, ge=1)
    log_requests: bool = True

    @property
    def connection_limits(self) -> ConnectionLimits:
        """What one connection may cost."""
        return ConnectionLimits(
            self.max_connections, self.max_header_bytes, self.header_seconds, self.send_seconds
        )

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
