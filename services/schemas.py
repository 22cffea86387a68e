"""The shapes that the answers of both services share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from porcelain.bundle import Manifest
from porcelain.vocabulary import load_taxonomy


class Schema(BaseModel):
    """The base of every answer's shape: nothing more than what is described."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class ProblemDetails(Schema):
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


def model_of(manifest: Manifest) -> Model:
    """Which model a bundle is."""
    return Model(name=manifest.name, version=manifest.version, digest=manifest.digest())


def label_names(
    bundle: Path, labels: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, LabelNames]]:
    """English and, where known, Chinese name by task and label.

    Args:
        bundle: Its folder, with a `taxonomy.yaml` or without.
        labels: Slugs per task.

    Raises:
        DatasetError: The bundle's taxonomy is not valid.
    """
    taxonomy = load_taxonomy(bundle)
    return {
        task: {
            slug: LabelNames(**taxonomy.term(task, slug).model_dump(include={"en", "zh"}))
            for slug in slugs
        }
        for task, slugs in labels.items()
    }
