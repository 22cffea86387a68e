"""Copies: of a photograph, and of each other.

Three measures look for them, and each alone suffices. Fine detail that still correlates after
alignment finds crops, resaved and mirrored copies (see `training.data.duplicates`). Perceptual
hashes find copies whose fine detail a generator has smeared. A classifier's features find what
neither does. How near is too near is learned from the photographs: nearer than nearly every
photograph is to the nearest one of another object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from porcelain.dataset import Record
from training.data.alignment import similarity
from training.data.duplicates import (
    MOST_BITS,
    MOST_CANDIDATES,
    SAME_DETAIL,
    find_duplicates,
    hash_distances,
    join_pairs,
)
from training.data.fingerprints import Bits, Fingerprint
from training.data.groups import join_groups

QUANTILE: Final = 0.01
"""Share of photographs that may be as near to another object's as a copy is to its original."""

LEAST_DETAIL: Final = 0.8
"""Correlation under which pictures are no copies, however far apart the photographs are."""

_BLOCK = 256

Matrix = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Looks:
    """What N pictures are compared by.

    Attributes:
        names: Of the pictures.
        hashes: phash and dhash, [N, 2, 64].
        mirrored: The same of the mirror images.
        thumbnails: Grey, uint8 [N, 128, 128].
        features: A classifier's features at unit length, [N, F]; None without a classifier.
    """

    names: tuple[str, ...]
    hashes: Bits
    mirrored: Bits
    thumbnails: npt.NDArray[np.uint8]
    features: Matrix | None = None

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: Sequence[int]) -> Looks:
        """The pictures at these rows."""
        chosen = list(rows)
        return Looks(
            tuple(self.names[row] for row in chosen),
            self.hashes[chosen],
            self.mirrored[chosen],
            self.thumbnails[chosen],
            None if self.features is None else self.features[chosen],
        )

    def join(self, other: Looks) -> Looks:
        """These pictures, then the others; both have features, or neither."""
        features = None
        if self.features is not None and other.features is not None:
            features = np.concatenate([self.features, other.features])
        return Looks(
            self.names + other.names,
            np.concatenate([self.hashes, other.hashes]),
            np.concatenate([self.mirrored, other.mirrored]),
            np.concatenate([self.thumbnails, other.thumbnails]),
            features,
        )


@dataclass(frozen=True)
class CopyThresholds:
    """Below which distance, or from which likeness, a picture is a copy.

    Attributes:
        bits: Differing bits of the hashes, out of 128; fewer is a copy.
        features: Cosine distance of features; less is a copy. None without a classifier.
        detail: Correlation of fine detail; this much or more is a copy.
    """

    bits: float = 0.0
    features: float | None = None
    detail: float = SAME_DETAIL


@dataclass(frozen=True)
class Nearness:
    """How near each of N pictures is to each of M others.

    Attributes:
        bits: Differing bits of the hashes, mirror images included, [N, M].
        detail: Correlation of fine detail, for the few pairs whose hashes are near; else 0.
        features: Cosine distance, [N, M]; None without features.
    """

    bits: Matrix
    detail: Matrix
    features: Matrix | None

    def copies(self, thresholds: CopyThresholds) -> Flags:
        """Which pairs are copies, [N, M]."""
        flags: Flags = (self.bits < thresholds.bits) | (self.detail >= thresholds.detail)
        if self.features is not None and thresholds.features is not None:
            flags |= self.features < thresholds.features
        return flags


def looks_of(prints: Sequence[Fingerprint], features: Matrix | None = None) -> Looks:
    """Gather what readable pictures are compared by.

    Args:
        prints: Of readable pictures.
        features: In the same order, of any length, [N, F].

    Raises:
        ValueError: One of the pictures could not be read.
    """
    likenesses = [item.likeness for item in prints if item.likeness is not None]
    if len(likenesses) < len(prints):
        raise ValueError("Unreadable pictures look like nothing.")
    empty = np.zeros((0, 2, 64), dtype=np.bool_)
    return Looks(
        tuple(item.name for item in prints),
        np.stack([item.hashes for item in likenesses]) if likenesses else empty,
        np.stack([item.mirrored_hashes for item in likenesses]) if likenesses else empty,
        np.stack([item.thumbnail for item in likenesses])
        if likenesses
        else np.zeros((0, 128, 128), dtype=np.uint8),
        None if features is None else _unit(features),
    )


def nearness(pictures: Looks, others: Looks) -> Nearness:
    """Compare every one of `pictures` with every one of `others`."""
    plain = hash_distances(pictures.hashes, others.hashes)
    mirrored = hash_distances(pictures.hashes, others.mirrored)
    detail = np.zeros_like(plain)
    for distances, thumbnails in (
        (plain, others.thumbnails),
        (mirrored, others.thumbnails[:, :, ::-1]),
    ):
        pairs = _near_pairs(distances)
        found = similarity(pictures.thumbnails, thumbnails, pairs)
        row, column = pairs.T
        detail[row, column] = np.maximum(detail[row, column], found)
    features = None
    if pictures.features is not None and others.features is not None:
        features = 1 - pictures.features @ others.features.T
    return Nearness(np.minimum(plain, mirrored), detail, features)


def learn_thresholds(
    looks: Looks, groups: npt.NDArray[np.int64], quantile: float = QUANTILE
) -> CopyThresholds:
    """How near photographs of different objects come to each other.

    Args:
        looks: Of the photographs.
        groups: Number of the object, or of the group of copies, that each belongs to, [N].
        quantile: Share of the photographs that are nearer than the thresholds to one of another
            group.

    Returns:
        Thresholds; those of a single object's photographs find only exact detail.
    """
    bits, details, features = [], [], []
    for start in range(0, len(looks), _BLOCK):
        rows = range(start, min(start + _BLOCK, len(looks)))
        near = nearness(looks.take(rows), looks)
        same = groups[rows.start : rows.stop, None] == groups[None, :]
        bits.append(np.where(same, np.inf, near.bits).min(axis=1))
        details.append(np.where(same, 0.0, near.detail).max(axis=1))
        if near.features is not None:
            features.append(np.where(same, np.inf, near.features).min(axis=1))
    nearest = np.concatenate(bits) if bits else np.zeros(0)
    if not np.isfinite(nearest).any():
        return CopyThresholds()
    detail = float(np.quantile(np.concatenate(details), 1 - quantile))
    return CopyThresholds(
        bits=float(np.quantile(nearest, quantile)),
        features=float(np.quantile(np.concatenate(features), quantile)) if features else None,
        # Where photographs are nearer than copies are, what is known of copies decides.
        detail=min(max(detail, LEAST_DETAIL), SAME_DETAIL),
    )


def groups_of(records: Sequence[Record], prints: Sequence[Fingerprint]) -> npt.NDArray[np.int64]:
    """A number per photograph, equal for those of one object and for copies of one picture."""
    copies = join_pairs(len(prints), find_duplicates(prints))
    named = [[prints[i].name for i in group] for group in copies]
    result = np.zeros(len(records), dtype=np.int64)
    for number, group in enumerate(join_groups(records, named)):
        result[group] = number
    return result


def repeats(copies_of_kept: Flags, copies_of_each_other: Flags, passing: Flags) -> list[int | None]:
    """Whom each of N new pictures repeats; the first of a series of near duplicates is none.

    Args:
        copies_of_kept: Whether each is a copy of each picture kept earlier, [N, K].
        copies_of_each_other: Whether each is a copy of each of the new ones, [N, N].
        passing: Whether each passes all other rules, [N]; others are no reason to drop one.

    Returns:
        Per picture an index into the kept ones followed by the new ones, or None.
    """
    result: list[int | None] = []
    staying = np.zeros(len(passing), dtype=np.bool_)
    for row in range(len(passing)):
        candidates = np.concatenate([copies_of_kept[row], copies_of_each_other[row] & staying])
        first = int(candidates.argmax()) if candidates.any() else None
        result.append(first)
        staying[row] = passing[row] and first is None
    return result


def _near_pairs(distances: Matrix) -> npt.NDArray[np.int64]:
    """Row and column [P, 2] of the nearest pairs, few per row."""
    if not distances.size:
        return np.zeros((0, 2), dtype=np.int64)
    keep = min(MOST_CANDIDATES, distances.shape[1])
    nearest = np.argpartition(distances, keep - 1, axis=1)[:, :keep]
    near = np.take_along_axis(distances, nearest, axis=1) <= MOST_BITS
    rows = np.broadcast_to(np.arange(len(distances))[:, None], nearest.shape)
    return np.stack([rows[near], nearest[near]], axis=1)


def _unit(features: Matrix) -> Matrix:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    result: Matrix = (features / np.maximum(lengths, 1e-12)).astype(np.float32)
    return result
