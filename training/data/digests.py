"""The content of the pictures that a model was made from, so that it knows them by any name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from porcelain.bundle import Bundle
from porcelain.errors import BundleError
from porcelain.files import sha256_file, write_json

DIGESTS_FILE: Final = "digests.json"

TRAIN_PART: Final = "train"

BASE_PART: Final = "base"
"""What the weights that training began with had learned from. A generator's list without this part
is not complete: its base does not say."""


def write_digests(
    folder: Path,
    root: Path,
    parts: Mapping[str, Iterable[str]],
    base: Iterable[str] | None = None,
) -> None:
    """Write `digests.json`: the SHA-256 of each picture, per part.

    Args:
        folder: Of the bundle or base.
        root: Of the dataset.
        parts: Names of its pictures, per part.
        base: SHA-256 of what the weights to begin with had learned from; None leaves the part out.
    """
    content = {part: [sha256_file(root / name) for name in names] for part, names in parts.items()}
    if base is not None:
        content[BASE_PART] = sorted(base)
    write_json(folder / DIGESTS_FILE, content)


def read_digests(folder: Path) -> dict[str, frozenset[str]]:
    """The SHA-256 of each picture, per part; empty without the file.

    Raises:
        BundleError: `digests.json` is not what this version writes.
    """
    file = folder / DIGESTS_FILE
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {part: frozenset(digests) for part, digests in content.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise BundleError(f"{file} does not list digests per part: {error}") from error


def known_parts(bundle: Bundle) -> dict[str, str]:
    """The part of each picture that the bundle knows, by digest; empty without the file.

    Raises:
        BundleError: `digests.json` is not what this version writes.
    """
    parts = read_digests(bundle.path)
    return {digest: part for part, digests in parts.items() for digest in digests}


def learned_by_base(folder: Path) -> frozenset[str] | None:
    """SHA-256 of all that a base has learned from; None where it does not say, as on the hub.

    Raises:
        BundleError: `digests.json` is not what this version writes.
    """
    parts = read_digests(folder)
    return frozenset().union(*parts.values()) if BASE_PART in parts else None
