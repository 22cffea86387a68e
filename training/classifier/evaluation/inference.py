"""A bundle's answers about many picture files: decoding on all cores beside the model."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from porcelain.errors import ImageError
from porcelain.predictor import Predictor
from porcelain.preparation import Pixels, load_and_prepare

ProgressCallback = Callable[[int, int], None]
Load = Callable[[Path], Pixels]

BATCH = 32
# Decoded batches waiting for the model: enough that it never waits, little enough for memory.
_AHEAD = 3


@dataclass(frozen=True)
class Answers:
    """What a bundle said.

    Attributes:
        readable: Indices of the paths that could be read [N].
        probabilities: Per task [N, classes].
        unreadable: Reason per index that could not be read.
        features: Shared features [N, F]; None unless asked for, or where N is 0.
        domain: Likeness to the training pictures [N]; None where the bundle cannot say, or N is 0.
    """

    readable: npt.NDArray[np.int64]
    probabilities: dict[str, npt.NDArray[np.float32]]
    unreadable: dict[int, str]
    features: npt.NDArray[np.float32] | None = None
    domain: npt.NDArray[np.float32] | None = None


def answer(
    predictor: Predictor,
    paths: Sequence[Path],
    on_progress: ProgressCallback | None = None,
    *,
    features: bool = False,
    load: Load | None = None,
) -> Answers:
    """Run the bundle on every file; one that cannot be read is named and takes no other down.

    Args:
        predictor: The bundle's predictor.
        paths: Picture files.
        on_progress: Called with pictures done and in all.
        features: Also return the shared features.
        load: Makes a file the model's input; None prepares it as the service does.
    """
    info = predictor.info
    load = load or (lambda path: load_and_prepare(path, info.input_size, info.resize))
    readable: list[int] = []
    unreadable: dict[int, str] = {}
    parts: dict[str, list[npt.NDArray[np.float32]]] = {task: [] for task in predictor.tasks}
    shared: list[npt.NDArray[np.float32]] = []
    likeness: list[npt.NDArray[np.float32]] = []
    done = 0
    for batch in decoded_batches(paths, load):
        pictures = []
        for index, decoded in batch:
            if isinstance(decoded, str):
                unreadable[index] = decoded
            else:
                readable.append(index)
                pictures.append(decoded)
        if pictures:
            outputs = predictor.run(np.stack(pictures), features=features)
            for task, rows in outputs.probabilities.items():
                parts[task].append(rows)
            if outputs.features is not None:
                shared.append(outputs.features)
            if outputs.domain is not None:
                likeness.append(outputs.domain)
        done += len(batch)
        if on_progress is not None:
            on_progress(done, len(paths))
    probabilities = {
        task: np.concatenate(rows) if rows else np.zeros((0, len(labels)), dtype=np.float32)
        for (task, labels), rows in zip(predictor.info.labels.items(), parts.values(), strict=True)
    }
    return Answers(
        np.asarray(readable, dtype=np.int64),
        probabilities,
        unreadable,
        np.concatenate(shared) if shared else None,
        np.concatenate(likeness) if likeness else None,
    )


def decoded_batches(paths: Sequence[Path], load: Load) -> Iterator[list[tuple[int, Pixels | str]]]:
    """Batches of index and pixels, or the reason why there are none; decoded on all cores."""

    def decode(index: int) -> tuple[int, Pixels | str]:
        try:
            return index, load(paths[index])
        except (ImageError, OSError) as error:
            return index, str(error)

    # Pillow decodes without the interpreter lock, so threads use all cores.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        indices = iter(range(len(paths)))
        waiting: deque[list[Future[tuple[int, Pixels | str]]]] = deque()
        while True:
            while len(waiting) < _AHEAD:
                ahead = [pool.submit(decode, index) for index in islice(indices, BATCH)]
                if not ahead:
                    break
                waiting.append(ahead)
            if not waiting:
                return
            yield [future.result() for future in waiting.popleft()]
