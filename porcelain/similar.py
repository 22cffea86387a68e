"""Which training pictures a picture is most like: an index of their features in the bundle.

The index holds rows of `metadata.csv` (names, labels, whence) and no picture, unless small copies
were asked for in training; then only of pictures whose licence lets anyone share them
(`may_be_shared`). It is read when first asked, so that it costs nothing to those who never ask.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from porcelain.bundle import Bundle
from porcelain.dataset import Record
from porcelain.domain import FloatArray, normalised
from porcelain.errors import BundleError
from porcelain.files import sha256_bytes

FEATURES_FILE: Final = "similar.safetensors"
ROWS_FILE: Final = "similar.json"
LARGEST_COUNT: Final = 20
"""Most similar pictures that one answer holds."""

_BLOCK: Final = 2048
"""Rows compared at a time: bounds the memory beside the index, which is in half precision."""

_FREE: Final = re.compile(r"(cc0|pdm|public[ -]?domain|cc[ -]by([ -]sa)?)([ -]\d(\.\d)?)?", re.I)


class TrainingPicture(BaseModel):
    """What the index tells of a training picture.

    Attributes:
        file_name: As in the dataset's `metadata.csv`.
        labels: Slug per task; unknown ones are left out.
        object_id: Of the object that it shows; None where not recorded.
        synthetic: Whether a model made it.
        source: Where it comes from; None where not recorded. So for the next two.
        license: Its licence.
        credit_line: What its owner asks to be named as.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file_name: str
    labels: dict[str, str]
    object_id: str | None = None
    synthetic: bool = False
    source: str | None = None
    license: str | None = None
    credit_line: str | None = None

    @classmethod
    def of(cls, record: Record) -> Self:
        """From a row of a dataset."""
        return cls(
            file_name=record.file_name,
            labels={task: label for task, label in record.labels.items() if label is not None},
            object_id=record.object_id,
            synthetic=record.synthetic,
            source=record.extra.get("source") or None,
            license=record.extra.get("license") or None,
            credit_line=record.extra.get("credit_line") or None,
        )


@dataclass(frozen=True)
class Match:
    """A training picture that is like the one asked about.

    Attributes:
        picture: Which.
        similarity: Cosine of the angle between their features, from the training pictures' mean.
        thumbnail: A small JPEG; None where the index holds none of it.
    """

    picture: TrainingPicture
    similarity: float
    thumbnail: bytes | None


@dataclass(frozen=True)
class SimilarIndex:
    """Training pictures by their features.

    Attributes:
        mean: Of their features at unit length [F].
        features: How far each is from it, at unit length, half precision [N, F].
        pictures: Their rows [N].
        thumbnails: Small JPEGs one after the other; empty where there are none.
        ends: Where each picture's JPEG ends in them [N].
    """

    mean: FloatArray
    features: npt.NDArray[np.float16]
    pictures: tuple[TrainingPicture, ...]
    thumbnails: bytes
    ends: npt.NDArray[np.int64]

    def search(self, features: npt.NDArray[np.floating], count: int) -> list[Match]:
        """The most similar pictures, the best first, of each object its best one alone.

        Args:
            features: Of one picture [F], as the graph returns them.
            count: How many at most.
        """
        wanted = normalised(normalised(features[np.newaxis]) - self.mean)[0]
        blocks = range(0, len(self.features), _BLOCK)
        scores = np.concatenate(
            [self.features[i : i + _BLOCK].astype(np.float32) @ wanted for i in blocks]
        )
        found: list[Match] = []
        objects: set[str] = set()
        for place in np.argsort(-scores, kind="stable"):
            if len(found) == count:
                break
            picture = self.pictures[place]
            if picture.object_id is not None:
                if picture.object_id in objects:
                    continue
                objects.add(picture.object_id)
            similarity = float(np.clip(scores[place], -1, 1))
            found.append(Match(picture, similarity, self._thumbnail(int(place))))
        return found

    def _thumbnail(self, place: int) -> bytes | None:
        start = int(self.ends[place - 1]) if place else 0
        return self.thumbnails[start : int(self.ends[place])] or None


def may_be_shared(record: Record) -> bool:
    """Whether the row's licence lets anyone pass the picture on: public domain, CC BY, CC BY-SA.

    Not those that forbid changes or commerce, and not where nothing is stated.
    """
    return _FREE.fullmatch(record.extra.get("license", "").strip()) is not None


def has_index(bundle: Bundle) -> bool:
    """Whether a bundle keeps an index of its training pictures."""
    return {FEATURES_FILE, ROWS_FILE} <= bundle.manifest.files.keys()


def encode_index(
    features: npt.NDArray[np.floating],
    records: Sequence[Record],
    thumbnails: Mapping[int, bytes],
) -> dict[str, bytes]:
    """The index's files by their names.

    Args:
        features: Of the training pictures [N, F], as the served graph returns them.
        records: Their rows [N].
        thumbnails: Small JPEGs by row, of those that have one.

    Raises:
        ValueError: There are not as many rows as features.
    """
    from safetensors.numpy import save

    if len(features) != len(records):
        raise ValueError(f"{len(features)} features of {len(records)} pictures")
    unit = normalised(features)
    mean = unit.mean(axis=0)
    parts = [thumbnails.get(place, b"") for place in range(len(records))]
    tensors = {
        "mean": mean,
        "features": normalised(unit - mean).astype(np.float16),
        "thumbnails": np.frombuffer(b"".join(parts), dtype=np.uint8),
        "ends": np.cumsum([len(part) for part in parts], dtype=np.int64),
    }
    rows = [TrainingPicture.of(record).model_dump(exclude_defaults=True) for record in records]
    text = json.dumps({"pictures": rows}, indent=1, ensure_ascii=False)
    return {FEATURES_FILE: save(tensors), ROWS_FILE: text.encode()}


def load_index(bundle: Bundle) -> SimilarIndex:
    """Read a bundle's index, and verify again what is read.

    Raises:
        BundleError: The bundle keeps none, or it has been altered or does not hold what it should.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if not has_index(bundle):
        raise BundleError(f"{bundle.path} keeps no index of its training pictures.")
    try:
        found = load(_read(bundle, FEATURES_FILE))
        rows = _rows(json.loads(_read(bundle, ROWS_FILE)))
        index = SimilarIndex(
            found["mean"].astype(np.float32),
            found["features"],
            rows,
            found["thumbnails"].tobytes(),
            found["ends"],
        )
    except (KeyError, TypeError, OSError, SafetensorError, ValueError) as error:
        raise BundleError(
            f"{bundle.path / FEATURES_FILE} and {ROWS_FILE} cannot be read: {error}"
        ) from error
    if index.features.shape != (len(rows), *index.mean.shape) or len(index.ends) != len(rows):
        raise BundleError(f"{bundle.path / FEATURES_FILE} and {ROWS_FILE} do not fit each other.")
    return index


def _rows(content: Any) -> tuple[TrainingPicture, ...]:  # noqa: ANN401 - any JSON value
    return tuple(TrainingPicture.model_validate(row) for row in content["pictures"])


def _read(bundle: Bundle, name: str) -> bytes:
    """The bundle may have been replaced on disk since it was verified."""
    data = (bundle.path / name).read_bytes()
    if sha256_bytes(data) != bundle.manifest.files[name]:
        raise BundleError(
            f"{bundle.path / name} is no longer what was loaded; start the service again."
        )
    return data
