"""How like the training pictures a picture is, by its features: low for what is no porcelain.

The training pictures' features, at unit length, spread over few directions. The score falls with
what those leave of a picture's features: the residual of a principal component analysis. Source:
the residual of Wang et al., ViM: Out-Of-Distribution with Virtual-logit Matching
(arXiv 2203.10807). `benchmarks/in_domain.py` compares it with other methods.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from porcelain.errors import BundleError

DOMAIN_FILE: Final = "likeness.safetensors"
EXPLAINED: Final = 0.9
"""Share of the training features' variance that the directions kept account for."""

MOST_DIRECTIONS: Final = 256
KEPT: Final = 0.95
"""Share of pictures like the training pictures that the threshold is to call in the domain."""

LEAST_SCORES: Final = 19
"""The fewest validation pictures from which a threshold that keeps this share follows."""

_FEW: Final = 32
"""More pictures at once are worth BLAS, and its threads."""

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Domain:
    """What the training pictures' features are like.

    Attributes:
        mean: Of the features at unit length [F].
        directions: In which they vary most, each at unit length [D, F].
    """

    mean: FloatArray
    directions: FloatArray


def normalised(features: npt.NDArray[np.floating]) -> FloatArray:
    """Features [N, F] at unit length."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    unit: FloatArray = (features / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit


def fit_domain(features: npt.NDArray[np.floating]) -> Domain:
    """Learn what pictures are like.

    Args:
        features: Of the training pictures [N, F], as the graph returns them.
    """
    unit = normalised(features)
    mean = unit.mean(axis=0)
    _, values, directions = np.linalg.svd(unit - mean, full_matrices=False)
    variance = np.cumsum(values.astype(np.float64) ** 2)
    # Pictures that are all alike vary in no direction.
    count = np.searchsorted(variance, EXPLAINED * variance[-1]) + 1 if variance[-1] > 1e-9 else 0
    return Domain(mean, directions[: min(int(count), MOST_DIRECTIONS)])


def likeness(features: npt.NDArray[np.floating], domain: Domain) -> FloatArray:
    """Scores [N] of features [N, F]: 1 less the length of what the domain leaves of them."""
    centred = normalised(features) - domain.mean
    if len(centred) > _FEW:
        found = centred @ domain.directions.T
    else:
        # BLAS would take threads for it, which spin for milliseconds afterwards and so keep the
        # other workers from their cores.
        found = np.einsum("nf,df->nd", centred, domain.directions)
    # The directions stand upright on one another, so that Pythagoras tells the length of the rest.
    left = np.square(centred).sum(axis=1) - np.square(found).sum(axis=1)
    scores: FloatArray = (1 - np.sqrt(np.maximum(left, 0))).astype(np.float32)
    return scores


def choose_threshold(scores: npt.NDArray[np.floating]) -> float:
    """The score that a picture like the training pictures reaches with probability `KEPT`, or more.

    It is the floor((1 - KEPT)(n + 1))-th smallest of n scores, which holds with any n from
    `LEAST_SCORES` on (split conformal prediction; Angelopoulos and Bates, arXiv 2107.07511). Below
    that it is the smallest, which keeps n / (n + 1).

    Args:
        scores: Of pictures that the domain was not fitted on [n], one of each object.
    """
    rank = int(np.floor((1 - KEPT) * (len(scores) + 1) + 1e-9))
    return float(np.sort(scores)[max(rank, 1) - 1])


def encode_domain(domain: Domain) -> bytes:
    """The content of `DOMAIN_FILE`, in half precision."""
    from safetensors.numpy import save

    return save({name: value.astype(np.float16) for name, value in vars(domain).items()})


def load_domain(path: Path) -> Domain:
    """Read `DOMAIN_FILE`.

    Raises:
        BundleError: It does not hold what it should.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    mean, directions = found.get("mean"), found.get("directions")
    if mean is None or directions is None or directions.shape[1:] != mean.shape:
        raise BundleError(f"{path} holds no domain; train again or copy the bundle again.")
    return Domain(mean.astype(np.float32), directions.astype(np.float32))
