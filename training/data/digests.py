"""The content of the pictures that a bundle was made from, so that it knows them by any name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from porcelain.bundle import Bundle
from porcelain.errors import BundleError
from porcelain.files import sha256_file, write_json

DIGESTS_FILE: Final = "digests.json"


def write_digests(folder: Path, root: Path, parts: Mapping[str, Iterable[str]]) -> None:
    """Write `digests.json`: the SHA-256 of each picture, per part.

    Args:
        folder: Of the bundle.
        root: Of the dataset.
        parts: Names of its pictures, per part.
    """
    content = {part: [sha256_file(root / name) for name in names] for part, names in parts.items()}
    write_json(folder / DIGESTS_FILE, content)


def known_parts(bundle: Bundle) -> dict[str, str]:
    """The part of each picture that the bundle knows, by digest; empty without the file.

    Raises:
        BundleError: `digests.json` is not what this version writes.
    """
    file = bundle.path / DIGESTS_FILE
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {digest: part for part, digests in content.items() for digest in digests}
    except (ValueError, AttributeError, TypeError) as error:
        raise BundleError(f"{file} does not list digests per part: {error}") from error
