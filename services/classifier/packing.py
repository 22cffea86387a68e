"""One array per picture between the API workers and the inner service.

BentoML batches a single array over its first axis, so that all outputs travel as one row of
float32: the probabilities task after task, then the score of `porcelain.domain`, where the bundle
has one, and the maps that explain them, where asked for.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from porcelain.bundle import ClassifierInfo
from porcelain.predictor import Outputs


def pack(info: ClassifierInfo, outputs: Outputs) -> npt.NDArray[np.float32]:
    """Outputs of N pictures as float32 [N, `width`]."""
    rows = [outputs.probabilities[task] for task in info.labels]
    if outputs.domain is not None:
        rows.append(outputs.domain[:, np.newaxis])
    if outputs.activation is not None:
        rows.append(outputs.activation.reshape(len(outputs.activation), -1))
    return np.concatenate(rows, axis=1, dtype=np.float32)


def width(info: ClassifierInfo, *, explained: bool) -> int:
    """Numbers in one row."""
    height, breadth = info.activation_grid
    maps = len(info.labels) * height * breadth if explained else 0
    return sum(map(len, info.labels.values())) + _scores(info) + maps


def _scores(info: ClassifierInfo) -> int:
    return int(info.in_domain_threshold is not None)


def unpack(info: ClassifierInfo, packed: npt.NDArray[np.float32]) -> Outputs:
    """The reverse of `pack`.

    Raises:
        ValueError: The rows have another width.
    """
    widths = {width(info, explained=explained): explained for explained in (False, True)}
    if packed.ndim != 2 or packed.shape[1] not in widths:
        raise ValueError(f"expected rows of {sorted(widths)} numbers, got {packed.shape}")
    ends = np.cumsum([0, *(len(labels) for labels in info.labels.values())]).tolist()
    probabilities = {
        task: packed[:, start:end]
        for task, (start, end) in zip(info.labels, pairwise(ends), strict=True)
    }
    after = ends[-1] + _scores(info)
    domain = packed[:, ends[-1]] if after > ends[-1] else None
    if not widths[packed.shape[1]]:
        return Outputs(probabilities, domain=domain)
    maps = packed[:, after:].reshape(len(packed), len(info.labels), *info.activation_grid)
    return Outputs(probabilities, activation=maps, domain=domain)
