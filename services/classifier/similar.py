"""The training pictures that a picture is most like, as callers read them."""

from __future__ import annotations

import base64
from threading import Lock

import numpy as np
import numpy.typing as npt

from porcelain.bundle import Bundle
from porcelain.similar import Match, SimilarIndex, load_index
from services.classifier.schemas import SimilarPicture


class SimilarPictures:
    """Searches a bundle's index, which the first search reads."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._index: SimilarIndex | None = None
        self._lock = Lock()  # two threads may ask at the same time

    def find(self, features: npt.NDArray[np.float32], count: int) -> list[SimilarPicture]:
        """Entries for `similar`, the most similar first.

        Args:
            features: Of one picture [F].
            count: How many at most.
        """
        with self._lock:
            if self._index is None:
                self._index = load_index(self._bundle)
            index = self._index
        return [_entry(match) for match in index.search(features, count)]


def _entry(match: Match) -> SimilarPicture:
    thumbnail = None
    if match.thumbnail is not None:
        encoded = base64.b64encode(match.thumbnail).decode("ascii")
        thumbnail = f"data:image/jpeg;base64,{encoded}"
    return SimilarPicture(
        **match.picture.model_dump(),
        similarity=round(match.similarity, 4),
        thumbnail=thumbnail,
    )
