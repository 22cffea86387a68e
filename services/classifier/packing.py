"""One array per picture between the API workers and the inner service.

BentoML batches a single array over its first axis, so that all outputs travel as one row of
float32: the probabilities task after task, then the activation maps.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from porcelain.bundle import ClassifierInfo
from porcelain.predictor import Outputs


def pack(info: ClassifierInfo, outputs: Outputs) -> npt.NDArray[np.float32]:
    """Outputs of N pictures as float32 [N, `width`].

    Raises:
        ValueError: The outputs have no activation maps.
    """
    if outputs.activation is None:
        raise ValueError("the outputs have no activation maps")
    count = len(outputs.activation)
    rows = [*(outputs.probabilities[task] for task in info.labels)]
    rows.append(outputs.activation.reshape(count, -1))
    return np.concatenate(rows, axis=1, dtype=np.float32)


def width(info: ClassifierInfo) -> int:
    """Numbers in one row."""
    height, breadth = info.activation_grid
    return sum(map(len, info.labels.values())) + len(info.labels) * height * breadth


def unpack(info: ClassifierInfo, packed: npt.NDArray[np.float32]) -> Outputs:
    """The reverse of `pack`.

    Raises:
        ValueError: The rows have another width.
    """
    if packed.ndim != 2 or packed.shape[1] != width(info):
        raise ValueError(f"expected rows of {width(info)} numbers, got {packed.shape}")
    ends = np.cumsum([0, *(len(labels) for labels in info.labels.values())]).tolist()
    probabilities = {
        task: packed[:, start:end]
        for task, (start, end) in zip(info.labels, pairwise(ends), strict=True)
    }
    maps = packed[:, ends[-1] :].reshape(len(packed), len(info.labels), *info.activation_grid)
    return Outputs(probabilities, activation=maps)
