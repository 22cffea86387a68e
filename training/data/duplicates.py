"""Copies of a picture: the same file, the same pixels, or resaved, resized, cropped, mirrored.

Hashes propose pairs, alignment decides (see `training.data.alignment`): on museum backdrops two
bowls may have hashes as close as a picture and its crop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from porcelain.dataset import Dataset
from training.data.alignment import similarity
from training.data.fingerprints import Bits, Fingerprint, Likeness, fingerprint_dataset
from training.data.groups import UnionFind

SAME_DETAIL: Final = 0.94
"""Least correlation of fine detail at which two pictures count as copies.

Measured on 1,030 museum photographs: the closest different objects (twin bowls of one set, one
camera position) reach 0.933; of copies cropped by 5 %, 99 % are above 0.97; cropped, halved and
resaved at JPEG quality 40, 99 % above 0.95.
"""

MOST_BITS: Final = 28
"""Most differing bits, phash and dhash together, for a pair to be looked at: 99 % of copies cropped
by 5 % are within, and one in 120 of all pairs of museum photographs."""

MOST_CANDIDATES: Final = 12
"""Nearest candidates that are aligned per picture: keeps the work linear in the pictures."""

_BLOCK = 1024

Pairs = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DuplicatePair:
    """Two pictures that are one.

    Attributes:
        first: Index of the earlier one.
        second: Index of the later one.
        kind: `file`: equal bytes. `pixels`: equal once decoded. `near`: a changed copy.
        mirrored: Whether one is the other's mirror image.
        similarity: Correlation of fine detail after alignment; 1 for exact copies.
    """

    first: int
    second: int
    kind: Literal["file", "pixels", "near"]
    mirrored: bool = False
    similarity: float = 1.0


def find_duplicates(prints: Sequence[Fingerprint]) -> list[DuplicatePair]:
    """Every copy among the pictures, ordered by index.

    Exact copies are paired with their first occurrence only; near copies are looked for among
    first occurrences.
    """
    exact, leaders = _exact_pairs(prints)
    return sorted(exact + _near_pairs(prints, leaders), key=lambda pair: (pair.first, pair.second))


def duplicate_groups(
    dataset: Dataset,
    workers: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> list[list[str]]:
    """File names of pictures that are copies of each other, one list per picture copied."""
    prints = fingerprint_dataset(dataset, workers, on_progress)
    return [[prints[i].name for i in group] for group in group_pairs(len(prints), prints)]


def group_pairs(count: int, prints: Sequence[Fingerprint]) -> list[list[int]]:
    """Indices of pictures that are copies of each other."""
    return join_pairs(count, find_duplicates(prints))


def join_pairs(count: int, pairs: Iterable[DuplicatePair]) -> list[list[int]]:
    """The groups, of two or more out of `count`, that pairs make when joined."""
    sets = UnionFind(count)
    for pair in pairs:
        sets.union(pair.first, pair.second)
    return [group for group in sets.sets() if len(group) > 1]


def hash_distances(ones: Bits, others: Bits) -> npt.NDArray[np.float32]:
    """Differing bits of every pair [N, M] of hashes [N, ...] and [M, ...]."""
    # Bits as signs: the product of two hashes counts agreeing less differing bits, at BLAS speed.
    signs, other_signs = _signs(ones), _signs(others)
    result: npt.NDArray[np.float32] = (signs.shape[1] - signs @ other_signs.T) / 2
    return result


def _exact_pairs(prints: Sequence[Fingerprint]) -> tuple[list[DuplicatePair], list[int]]:
    """Pairs of equal files or pixels, and the indices that are nobody's exact copy."""
    pairs: list[DuplicatePair] = []
    leaders: list[int] = []
    first_file: dict[str, int] = {}
    first_pixels: dict[str, int] = {}
    for i, item in enumerate(prints):
        if item.likeness is None:
            continue
        pixels = item.likeness.pixel_digest
        if item.file_digest in first_file:
            pairs.append(DuplicatePair(first_file[item.file_digest], i, "file"))
        elif pixels in first_pixels:
            pairs.append(DuplicatePair(first_pixels[pixels], i, "pixels"))
        else:
            leaders.append(i)
        first_file.setdefault(item.file_digest, i)
        first_pixels.setdefault(pixels, i)
    return pairs, leaders


def _near_pairs(prints: Sequence[Fingerprint], leaders: list[int]) -> list[DuplicatePair]:
    likenesses = [likeness for i in leaders if (likeness := prints[i].likeness) is not None]
    if len(likenesses) < 2:
        return []
    thumbnails = np.stack([likeness.thumbnail for likeness in likenesses])
    best: dict[tuple[int, int], DuplicatePair] = {}
    for mirrored in (False, True):
        pairs = _candidates(likenesses, mirrored)
        others = thumbnails[:, :, ::-1] if mirrored else thumbnails
        scores = similarity(thumbnails, others, pairs)
        for (one, other), score in zip(pairs.tolist(), scores.tolist(), strict=True):
            key = leaders[one], leaders[other]
            known = best.get(key)
            if score >= SAME_DETAIL and (known is None or score > known.similarity):
                best[key] = DuplicatePair(*key, "near", mirrored, round(score, 4))
    return list(best.values())


def _candidates(likenesses: Sequence[Likeness], mirrored: bool) -> Pairs:
    """Index pairs [M, 2], first below second, that are close by their hashes."""
    bits = np.stack([likeness.hashes for likeness in likenesses])
    others = np.stack([item.mirrored_hashes for item in likenesses]) if mirrored else bits
    found: list[Pairs] = []
    for start in range(0, len(likenesses), _BLOCK):
        distance = hash_distances(bits[start : start + _BLOCK], others)
        total = np.where(distance <= MOST_BITS, distance, np.inf)
        index = np.arange(len(total))
        total[index, index + start] = np.inf
        keep = min(MOST_CANDIDATES, total.shape[1])
        nearest = np.argpartition(total, keep - 1, axis=1)[:, :keep]
        picked = np.isfinite(np.take_along_axis(total, nearest, axis=1))
        row = np.broadcast_to(index[:, None] + start, nearest.shape)
        found.append(np.stack([row[picked], nearest[picked]], axis=1))
    pairs = np.sort(np.concatenate(found), axis=1)
    return np.unique(pairs, axis=0)


def _signs(bits: Bits) -> npt.NDArray[np.float32]:
    rows = bits.reshape(len(bits), int(np.prod(bits.shape[1:])))
    return np.where(rows, 1, -1).astype(np.float32)
