"""No model learns a generated picture as if it were a photograph."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Final

from porcelain.dataset import Dataset
from porcelain.errors import DatasetError
from porcelain.verification import is_synthetic

_NAMED: Final = 5


def refuse_undeclared(dataset: Dataset) -> None:
    """Look at every picture that its row declares real, by all signs there are.

    Args:
        dataset: Pictures that cannot be read are left to those who read them.

    Raises:
        DatasetError: Some were made by a model; the message names the first of them.
    """
    names = [record.file_name for record in dataset.records if not record.synthetic]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        answers = pool.map(_tells, (dataset.root / name for name in names))
        found = [name for name, synthetic in zip(names, answers, strict=True) if synthetic]
    if found:
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise DatasetError(
            f"{len(found)} picture(s) of {dataset.root} are declared real but were made by a "
            f"model: {', '.join(found[:_NAMED])}{more}; set their synthetic column to true or "
            "delete their rows (porcelain verify FILE says what tells)."
        )


def _tells(path: Path) -> bool:
    status = path.stat()
    return _remembered(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=100_000)
def _remembered(path: Path, modified: int, size: int) -> bool:
    """As `is_synthetic`; experiments train on the same pictures over and over."""
    del modified, size
    return is_synthetic(path)
