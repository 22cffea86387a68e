"""Dataset folders of what was reviewed or generated: as a ZIP, and in a folder of the studio's."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from porcelain.dataset import METADATA_FILE, Record, metadata_text, write_metadata
from porcelain.errors import UserError
from porcelain.files import atomic_folder, sha256_bytes, write_bytes
from porcelain.image_formats import IMAGE_FORMATS, sniff
from porcelain.vocabulary import TASKS

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # equal content gives equal archives


@dataclass(frozen=True)
class Entry:
    """A picture that goes into a dataset folder.

    Attributes:
        data: The file as it came, with every mark in it.
        labels: Slug per task; None where unknown.
        synthetic: Whether a model made it.
        extra: Further columns.
    """

    data: bytes
    labels: Mapping[str, str | None]
    synthetic: bool = False
    extra: Mapping[str, str] = field(default_factory=dict)


def dataset_zip(entries: Sequence[Entry]) -> bytes:
    """The folder as an archive: `metadata.csv` and `images/`, the pictures byte for byte."""
    records = _records(entries)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for record, entry in records.items():
            archive.writestr(zipfile.ZipInfo(record, _EPOCH), entry[1].data)
        table = metadata_text(one for one, _ in records.values())
        archive.writestr(zipfile.ZipInfo(METADATA_FILE, _EPOCH), table)
    return content.getvalue()


def save_dataset(parent: Path, entries: Sequence[Entry], now: datetime | None = None) -> Path:
    """Write the folder below `parent`, whole or not at all; returns where.

    Raises:
        UserError: There is nothing to save, or no room for it.
    """
    name = (now or datetime.now(UTC)).strftime("review-%Y%m%d-%H%M%S-%f")
    records = _records(entries)
    try:
        with atomic_folder(parent / name) as folder:
            for file_name, (_, entry) in records.items():
                write_bytes(folder / file_name, entry.data)
            write_metadata(folder, (one for one, _ in records.values()))
    except OSError as error:
        raise UserError(f"Cannot save to {parent}: {error.strerror or error}.") from error
    return parent / name


def _records(entries: Sequence[Entry]) -> dict[str, tuple[Record, Entry]]:
    """Rows and entries by file name: a digest's beginning, so that equal pictures are one."""
    if not entries:
        raise UserError("There is nothing to save yet.")
    found = {}
    for entry in entries:
        kind = sniff(entry.data)
        suffix = IMAGE_FORMATS[kind].suffix if kind else ".png"
        name = f"images/{sha256_bytes(entry.data)[:16]}{suffix}"
        labels = {task: entry.labels.get(task) or None for task in TASKS}
        record = Record(name, labels, None, entry.synthetic, dict(entry.extra))
        found[name] = (record, entry)
    return found
