"""What all results of an evaluation share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

Bounds = tuple[float, float]
"""Low and high end of a 95 % interval."""


class Result(BaseModel):
    """Base of all results: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
