"""Copies: of a photograph, and of each other.

Three measures look for them, and each alone suffices. Fine detail that still correlates after
alignment finds crops, resaved and mirrored copies (see `training.data.duplicates`). Perceptual
hashes find copies whose fine detail a generator has smeared. A classifier's features find what
neither does. How near is too near is learned from the photographs: nearer than nearly every
photograph is to the nearest one of another object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from porcelain.bundle import Bundle
from porcelain.dataset import Dataset, Record
from porcelain.errors import DatasetError
from porcelain.predictor import Predictor
from training.classifier.evaluation.inference import answer
from training.data.alignment import similarity
from training.data.digests import known_parts
from training.data.duplicates import (
    MOST_BITS,
    MOST_CANDIDATES,
    SAME_DETAIL,
    find_duplicates,
    hash_distances,
    join_pairs,
)
from training.data.fingerprints import Bits, Fingerprint, fingerprint_dataset
from training.data.groups import join_groups
from training.data.split import Split
from training.generator.synthesis.checks import Reading, misread_tasks, read_labels
from training.generator.synthesis.plan import Plan, kind_of, labels_of

QUANTILE: Final = 0.01
"""Share of photographs that may be as near to another object's as a copy is to its original."""

LEAST_DETAIL: Final = 0.8
"""Correlation under which pictures are no copies, however far apart the photographs are."""

_BLOCK = 256

Matrix = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Descriptors:
    """What N pictures are compared by.

    Attributes:
        names: Names of the pictures.
        hashes: phash and dhash, [N, 2, 64].
        mirrored: phash and dhash of the mirror images, [N, 2, 64].
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

    def take(self, rows: Sequence[int]) -> Descriptors:
        """The pictures at these rows."""
        chosen = list(rows)
        return Descriptors(
            tuple(self.names[row] for row in chosen),
            self.hashes[chosen],
            self.mirrored[chosen],
            self.thumbnails[chosen],
            None if self.features is None else self.features[chosen],
        )

    def join(self, other: Descriptors) -> Descriptors:
        """These pictures, then the others; both have features, or neither."""
        features = None
        if self.features is not None and other.features is not None:
            features = np.concatenate([self.features, other.features])
        return Descriptors(
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
class PairDistances:
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


def descriptors_of(prints: Sequence[Fingerprint], features: Matrix | None = None) -> Descriptors:
    """Gather what readable pictures are compared by.

    Args:
        prints: Fingerprints of readable pictures.
        features: In the same order, of any length, [N, F].

    Raises:
        ValueError: One of the pictures could not be read.
    """
    likenesses = [item.likeness for item in prints if item.likeness is not None]
    if len(likenesses) < len(prints):
        raise ValueError("Unreadable pictures look like nothing.")
    empty = np.zeros((0, 2, 64), dtype=np.bool_)
    return Descriptors(
        tuple(item.name for item in prints),
        np.stack([item.hashes for item in likenesses]) if likenesses else empty,
        np.stack([item.mirrored_hashes for item in likenesses]) if likenesses else empty,
        np.stack([item.thumbnail for item in likenesses])
        if likenesses
        else np.zeros((0, 128, 128), dtype=np.uint8),
        None if features is None else _unit(features),
    )


def pair_distances(pictures: Descriptors, others: Descriptors) -> PairDistances:
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
    return PairDistances(np.minimum(plain, mirrored), detail, features)


def learn_thresholds(
    descriptors: Descriptors, groups: npt.NDArray[np.int64], quantile: float = QUANTILE
) -> CopyThresholds:
    """How near photographs of different objects come to each other.

    Args:
        descriptors: Descriptors of the photographs.
        groups: Number of the object, or of the group of copies, that each belongs to, [N].
        quantile: Share of the photographs that are nearer than the thresholds to one of another
            group.

    Returns:
        Thresholds; those of a single object's photographs find only exact detail.
    """
    bits, details, features = [], [], []
    for start in range(0, len(descriptors), _BLOCK):
        rows = range(start, min(start + _BLOCK, len(descriptors)))
        near = pair_distances(descriptors.take(rows), descriptors)
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


def find_repeats(
    copies_of_kept: Flags, copies_of_each_other: Flags, passing: Flags
) -> list[int | None]:
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


ReadingProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Photographs:
    """The real pictures that none may copy.

    Attributes:
        descriptors: Descriptors of all of them.
        thresholds: How near those of the training part come to each other.
        prints: Fingerprints of all of them, for whoever asks for their digests.
        readings: What the classifier reads of each; empty without one.
    """

    descriptors: Descriptors
    thresholds: CopyThresholds
    prints: tuple[Fingerprint, ...]
    readings: tuple[Mapping[str, Reading], ...] = ()


@dataclass(frozen=True)
class NearestPhotographs:
    """The photographs that a picture is nearest to.

    Attributes:
        by_hash: The one with the nearest perceptual hash.
        bits: Differing bits of the nearest hash, out of 128.
        by_features: The one with the nearest features; None without a classifier.
        distance: Cosine distance of the nearest features.
        by_detail: The one whose fine detail correlates best, if any was near enough to try.
        detail: Correlation of the best fine detail.
        copied: The one that the picture is a copy of, if it is.
    """

    by_hash: str
    bits: float
    by_features: str | None
    distance: float | None
    by_detail: str | None
    detail: float
    copied: str | None


def read_photographs(
    dataset: Dataset,
    training: frozenset[str],
    predictor: Predictor | None,
    quantile: float,
    on_progress: ReadingProgress | None = None,
) -> Photographs:
    """Read the photographs, and how near those of the training part come to each other.

    Args:
        dataset: Real pictures; unreadable ones are passed over.
        training: File names of the training part.
        predictor: Gives features; None does without.
        quantile: Share of photographs that may be as near to another object's as a copy is.
        on_progress: Called with pictures read so far and in all.

    Raises:
        DatasetError: None can be read.
    """
    rounds = 1 if predictor is None else 2
    total = rounds * len(dataset)

    def moved(before: int) -> Callable[[int], None]:
        return lambda done: None if on_progress is None else on_progress(before + done, total)

    prints = fingerprint_dataset(dataset, on_progress=moved(0))
    readable = [i for i, item in enumerate(prints) if item.likeness is not None and not item.marked]
    if not readable:
        raise DatasetError(f"None of the photographs of {dataset.root} can be read.")
    features = None
    readings: list[Mapping[str, Reading]] = []
    if predictor is not None:
        paths = [dataset.path(dataset.records[i]) for i in readable]
        answers = answer(predictor, paths, lambda done, _: moved(len(dataset))(done), features=True)
        features = answers.features
        readable = [readable[i] for i in answers.readable]
        for row, i in enumerate(readable):
            rows = {task: values[row] for task, values in answers.probabilities.items()}
            labels = labels_of(kind_of(dataset.records[i].labels))
            readings.append(read_labels(labels, rows, predictor.info.labels))
    chosen = [prints[i] for i in readable]
    records = [dataset.records[i] for i in readable]
    descriptors = descriptors_of(chosen, features)
    learned = [i for i, item in enumerate(chosen) if item.name in training]
    groups = groups_of([records[i] for i in learned], [chosen[i] for i in learned])
    thresholds = learn_thresholds(descriptors.take(learned), groups, quantile)
    return Photographs(descriptors, thresholds, tuple(chosen), tuple(readings))


def describe_nearest(
    near: PairDistances, names: Sequence[str], thresholds: CopyThresholds
) -> list[NearestPhotographs]:
    """Per picture the photographs that it is nearest to.

    Args:
        near: Distances of the pictures to the photographs.
        names: Names of the photographs.
        thresholds: From which likeness a picture is a copy.
    """
    copies = near.copies(thresholds)
    result = []
    for row in range(len(near.bits)):
        hashed, detailed = int(near.bits[row].argmin()), int(near.detail[row].argmax())
        alike = None if near.features is None else int(near.features[row].argmin())
        detail = float(near.detail[row, detailed])
        result.append(
            NearestPhotographs(
                by_hash=names[hashed],
                bits=float(near.bits[row, hashed]),
                by_features=None if alike is None else names[alike],
                distance=None
                if near.features is None or alike is None
                else float(near.features[row, alike]),
                by_detail=names[detailed] if detail > 0 else None,
                detail=detail,
                copied=_copied(near, copies, row, names),
            )
        )
    return result


def _copied(
    near: PairDistances, copies: npt.NDArray[np.bool_], row: int, names: Sequence[str]
) -> str | None:
    """Of the photographs that a picture copies, the one whose hash is nearest."""
    if not copies[row].any():
        return None
    return names[int(np.where(copies[row], near.bits[row], np.inf).argmin())]


def unknown_label_warnings(plan: Plan, classifier: Bundle) -> list[str]:
    """What the classifier cannot say of the plan's labels."""
    known = classifier.classifier.labels
    missing = {
        f"{task} {label}"
        for planned in plan.kinds
        for task, label in labels_of(planned.kind).items()
        if label not in known.get(task, ())
    }
    if not missing:
        return []
    return [
        f"The classifier has not learned {', '.join(sorted(missing))}; there it does not judge."
    ]


def leaked_test_warnings(classifier: Bundle, photographs: Photographs, split: Split) -> list[str]:
    """A warning where a classifier has learned from test pictures, which their content tells."""
    test, parts = frozenset(split.names["test"]), known_parts(classifier)
    leaked = sum(
        item.name in test and parts.get(item.file_digest) == "train" for item in photographs.prints
    )
    if not leaked:
        return []
    return [
        f"The classifier has learned from {leaked} picture(s) of the test part, so a little of the "
        "answers leaks into what it lets pass; train it on the same split."
    ]


def photographs_passed(
    photographs: Photographs, split: Split, agreement: Mapping[str, float]
) -> float | None:
    """The share of photographs of validation and test that are read as they are labelled.

    Args:
        photographs: With readings, or without.
        split: Their parts.
        agreement: Per task, the least probability of a photograph's label.
    """
    judged = frozenset((*split.names["validation"], *split.names["test"]))
    passed = [
        not misread_tasks(readings, agreement)
        for item, readings in zip(photographs.prints, photographs.readings, strict=False)
        if item.name in judged and readings
    ]
    return sum(passed) / len(passed) if passed else None
