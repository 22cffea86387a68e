"""The shapes that the answers of both services share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Schema(BaseModel):
    """The base of every answer's shape: nothing more than what is described."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class Problem(Schema):
    """RFC 9457 problem details."""

    type: str = Field(examples=["urn:porcelain:problem:corrupt"])
    title: str
    status: int
    detail: str = Field(description="One sentence that says what to do.")
    request_id: str | None = Field(None, description="Finds the request in the service's logs.")


class LabelNames(Schema):
    """What people call a label."""

    en: str
    zh: str | None = Field(None, description="In Chinese.")


class Model(Schema):
    """Which model answered."""

    name: str
    version: str
    digest: str = Field(description="SHA-256 over the digests of the bundle's files.")
