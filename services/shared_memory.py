"""Memory that the workers of one service share, through a file that each of them maps."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from porcelain.files import reserve


def shared_memory(folder: Path | None, name: str, size: int) -> memoryview:
    """The same bytes for all who ask: zeros at first, and no change for who comes later.

    Args:
        folder: Shared by the workers; None for a single process.
        name: Of the file in it.
        size: In bytes.

    Raises:
        OSError: There is no room for it.
    """
    if folder is None:
        return memoryview(bytearray(size))
    reserve(folder / name, size)
    file = os.open(folder / name, os.O_RDWR)
    try:
        return memoryview(mmap.mmap(file, size))
    finally:
        os.close(file)
