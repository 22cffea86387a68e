"""How like the training pictures a picture is, by its features: low for what is no porcelain.

The score is the cosine similarity of a picture's features with those of its k-th nearest training
picture. Source: Sun et al., Out-of-Distribution Detection with Deep Nearest Neighbors
(arXiv 2204.06507). `benchmarks/in_domain.py` compares it with other methods.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from porcelain.errors import BundleError

DOMAIN_FILE: Final = "domain.safetensors"
NEIGHBOUR: Final = 5
KEPT: Final = 0.95
"""Share of validation pictures that the threshold calls in the domain."""

LARGEST_REFERENCE: Final = 2000
"""Training pictures that are remembered at most, which bounds the file and the time of a score."""

FloatArray = npt.NDArray[np.float32]


def normalised(features: npt.NDArray[np.floating]) -> FloatArray:
    """Features [N, F] at unit length."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    unit: FloatArray = (features / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit


def similarity(features: npt.NDArray[np.floating], reference: FloatArray) -> FloatArray:
    """Scores [N] of features [N, F].

    Args:
        features: As the graph returns them.
        reference: Training pictures' features at unit length [M, F].
    """
    near = normalised(features) @ reference.T
    neighbour = min(NEIGHBOUR, len(reference))
    scores: FloatArray = np.partition(near, -neighbour, axis=1)[:, -neighbour]
    return scores


def choose_threshold(scores: npt.NDArray[np.floating]) -> float:
    """The score that `KEPT` of the validation pictures reach."""
    return float(np.quantile(scores, 1 - KEPT))


def encode_reference(features: npt.NDArray[np.floating], seed: int = 0) -> bytes:
    """The content of `DOMAIN_FILE`: at most `LARGEST_REFERENCE` rows, in half precision."""
    from safetensors.numpy import save

    if len(features) > LARGEST_REFERENCE:
        rows = np.random.default_rng(seed).permutation(len(features))[:LARGEST_REFERENCE]
        features = features[np.sort(rows)]
    return save({"features": normalised(features).astype(np.float16)})


def load_reference(path: Path) -> FloatArray:
    """Read `DOMAIN_FILE`.

    Raises:
        BundleError: It does not hold what it should.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        features = load_file(path).get("features")
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    if features is None or features.ndim != 2 or len(features) == 0:
        raise BundleError(f"{path} holds no features; train again or copy the bundle again.")
    return features.astype(np.float32)
