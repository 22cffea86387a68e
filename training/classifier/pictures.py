"""Decoded pictures, kept on disk for all epochs, so that training never waits for a decoder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from porcelain.errors import ImageError
from porcelain.files import reserve, write_json
from porcelain.preparation import ResizeRule, load_and_prepare

ProgressCallback = Callable[[int, int], None]


@dataclass(frozen=True)
class Pictures:
    """Prepared pictures of one part of a dataset, perhaps with some of another set after them.

    Attributes:
        pixels: uint8 [N, size, size, 3], mapped from a file.
        unusable: Index and reason of each picture that could not be read; its pixels are black.
        added: Pictures that follow these [M], with which rows of them; mapped from their own file.
    """

    pixels: npt.NDArray[np.uint8]
    unusable: dict[int, str]
    added: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return len(self.pixels) + (0 if self.added is None else len(self.added[1]))

    def take(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """The pixels of some of them [B, size, size, 3]."""
        if self.added is None:
            return self.pixels[indices]
        others, rows = self.added
        taken = np.empty((len(indices), *self.pixels.shape[1:]), dtype=np.uint8)
        own = indices < len(self.pixels)
        taken[own] = self.pixels[indices[own]]
        taken[~own] = others[rows[indices[~own] - len(self.pixels)]]
        return taken


def prepare_pictures(
    paths: Sequence[Path],
    size: int,
    rule: ResizeRule,
    cache: Path,
    on_progress: ProgressCallback | None = None,
) -> Pictures:
    """Decode every picture once, on all cores, into a file that later runs find again.

    A picture that cannot be read is named in the result and takes no other down.

    Args:
        paths: The pictures, in the order of the result.
        size: Side in pixels.
        rule: How a picture fills the square.
        cache: Where to keep the pixels; a `.json` beside it says that they are complete.
        on_progress: Called with pictures done and in all.

    Raises:
        OSError: The disk has no room for them.
    """
    shape = (len(paths), size, size, 3)
    complete = cache.with_suffix(".json")
    if complete.is_file() and cache.is_file() and cache.stat().st_size == int(np.prod(shape)):
        unusable = _read_unusable(complete)
        return Pictures(np.memmap(cache, np.uint8, "r", shape=shape), unusable)
    cache.unlink(missing_ok=True)  # what an interrupted run left may be of other pictures
    reserve(cache, int(np.prod(shape)))
    pixels = np.memmap(cache, np.uint8, "r+", shape=shape)
    unusable = {}

    def prepare(index: int) -> tuple[int, str | None]:
        try:
            pixels[index] = load_and_prepare(paths[index], size, rule)
        except (ImageError, OSError) as error:
            return index, str(error)
        return index, None

    # Pillow decodes and resizes without the interpreter lock, so threads use all cores.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for done, (index, fault) in enumerate(pool.map(prepare, range(len(paths))), start=1):
            if fault is not None:
                unusable[index] = fault
            if on_progress is not None:
                on_progress(done, len(paths))
    pixels.flush()
    write_json(complete, {str(index): fault for index, fault in unusable.items()})
    return Pictures(np.memmap(cache, np.uint8, "r", shape=shape), unusable)


def batches(
    pictures: Pictures,
    labels: Tensor,
    order: Sequence[npt.NDArray[np.int64]],
    device: torch.device,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches on the device, each gathered in the background while the last one trains.

    Args:
        pictures: N prepared pictures.
        labels: Class indices [N, tasks].
        order: Indices of each batch.
        device: Where the batches are wanted.

    Yields:
        uint8 pictures [B, size, size, 3] and labels [B, tasks].
    """

    def gather(indices: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        pixels = torch.from_numpy(pictures.take(indices))
        if device.type == "cuda":
            pixels = pixels.pin_memory()
        return pixels.to(device, non_blocking=True), labels[indices].to(device, non_blocking=True)

    if not order:
        return
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(gather, order[0])
        for following in order[1:]:
            ready = waiting.result()
            waiting = pool.submit(gather, following)
            yield ready
        yield waiting.result()


def _read_unusable(path: Path) -> dict[int, str]:
    import json

    return {int(index): fault for index, fault in json.loads(path.read_text()).items()}
