"""The classifier's training pictures, where the studio's machine has them.

A bundle tells which training pictures are similar and usually holds none of them. A museum that
runs the studio beside its own dataset folder can show them all the same.
"""

from __future__ import annotations

from pathlib import Path

from porcelain.dataset import load_dataset
from porcelain.errors import ImageError
from services.studio.uploads import thumbnail


class TrainingPictures:
    """Small copies of a dataset folder's pictures, by the names in its `metadata.csv` alone."""

    def __init__(self, folder: Path | None) -> None:
        """Read which pictures there are.

        Args:
            folder: A dataset folder; None has none.

        Raises:
            DatasetError: It is not one.
        """
        dataset = load_dataset(folder) if folder is not None else None
        records = dataset.records if dataset is not None else ()
        self._paths = {record.file_name: folder / record.file_name for record in records if folder}

    def copy_of(self, file_name: str) -> str | None:
        """A small copy as a data URI; None where there is none or it cannot be read."""
        path = self._paths.get(file_name)
        if path is None:
            return None
        try:
            return thumbnail(path.read_bytes(), side=160)
        except (ImageError, OSError):
            return None
