"""What an import is asked to do."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class ImportSettings(BaseModel):
    """Settings of one import, saved beside its result.

    Attributes:
        museum: Name in the table of museums.
        records: File or folder of records to read in place of asking the museum.
        views: Most pictures of one record. The first is the whole object; further ones are often
            bases, marks and details.
        limit: Most records to keep; None keeps all.
        permission: Also fetch pictures without a stated open licence; the user has the museum's
            permission.
        contact: Address of who asks, for the museum's log.
        rate: Requests a second; None takes the table's.
        max_age_days: How old a cached answer of the catalogue may be.
        refresh: Ask anew, conditionally, for everything that the cache has.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    museum: str
    records: Path | None = None
    views: int = Field(default=1, ge=1)
    limit: int | None = Field(default=None, ge=1)
    permission: bool = False
    contact: str = ""
    rate: float | None = Field(default=None, gt=0, le=20)
    max_age_days: float = Field(default=7, ge=0)
    refresh: bool = False
