"""A set of pictures with everything that it is measured by, and the measures of one group of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from porcelain.vocabulary import TASKS
from training.classifier.evaluation.inference import ProgressCallback
from training.data.allotment import Kind
from training.data.fingerprints import Fingerprint, fingerprint
from training.generator.evaluation.groups import Rows
from training.generator.evaluation.kernel_distance import kernel_distance
from training.generator.evaluation.manifold import compare_manifolds, diversity
from training.generator.evaluation.results import Copy, Distance, Measures
from training.generator.evaluation.spaces import ClassifierSpace, Space, described
from training.generator.synthesis.agreement import read_labels
from training.generator.synthesis.copies import CopyThresholds, Looks, looks_of, nearness
from training.generator.synthesis.kinds import labels_of

_BLOCK = 256


@dataclass(frozen=True)
class PictureSet:
    """N readable pictures.

    Attributes:
        paths: Their files.
        prints: What reading them told.
        kinds: What they show, or are to show.
        features: In the space that distances are measured in, [N, F].
        looks: What copies are recognised by.
        right: Per task, whether the classifier reads the label: 1, 0, or -1 where there is no
            label or none that it was taught, [N].
        extra: Pictures drawn beside the others because they are rare, [N]; None without such.
    """

    paths: tuple[Path, ...]
    prints: tuple[Fingerprint, ...]
    kinds: tuple[Kind, ...]
    features: npt.NDArray[np.float32]
    looks: Looks
    right: Mapping[str, npt.NDArray[np.int8]]
    extra: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: Sequence[int] | Rows) -> PictureSet:
        """The pictures at these rows."""
        chosen = [int(row) for row in rows]
        return PictureSet(
            tuple(self.paths[row] for row in chosen),
            tuple(self.prints[row] for row in chosen),
            tuple(self.kinds[row] for row in chosen),
            self.features[chosen],
            self.looks.take(chosen),
            {task: values[chosen] for task, values in self.right.items()},
            None if self.extra is None else self.extra[chosen],
        )


def describe_set(
    paths: Sequence[Path],
    names: Sequence[str],
    kinds: Sequence[Kind],
    space: Space,
    reader: ClassifierSpace | None,
    on_progress: ProgressCallback | None = None,
    extra: npt.NDArray[np.bool_] | None = None,
) -> PictureSet:
    """Read a set of pictures; those that cannot be read are left out.

    Args:
        paths: Files.
        names: What copies name them by.
        kinds: What they show.
        space: Where distances are measured.
        reader: Reads labels; None reads none.
        on_progress: Called with pictures read and in all.
        extra: See `PictureSet`.
    """
    passes = 2 if reader is None or reader is space else 3
    prints = _fingerprints(paths, names, _part(on_progress, 0, passes))
    good = [i for i, item in enumerate(prints) if item.likeness is not None]
    answers = None
    if reader is not None:
        answers = reader.answers([paths[i] for i in good], _part(on_progress, 1, passes))
        good = [good[i] for i in answers.readable]
    if answers is not None and reader is space:
        found = described(answers)
    else:
        found = space.describe([paths[i] for i in good], _part(on_progress, passes - 1, passes))
        if len(found.readable) < len(good):
            raise RuntimeError("A picture was readable once and then no more.")
    chosen = [kinds[i] for i in good]
    right = {task: np.full(len(good), -1, dtype=np.int8) for task in TASKS}
    if answers is not None and reader is not None:
        for row, kind in enumerate(chosen):
            rows = {task: values[row] for task, values in answers.probabilities.items()}
            for task, reading in read_labels(labels_of(kind), rows, reader.classes).items():
                right[task][row] = reading.read == reading.planned
    features = answers.features if answers is not None else None
    return PictureSet(
        tuple(paths[i] for i in good),
        tuple(prints[i] for i in good),
        tuple(chosen),
        found.features,
        looks_of([prints[i] for i in good], features),
        right,
        None if extra is None else extra[good],
    )


def _fingerprints(
    paths: Sequence[Path], names: Sequence[str], on_progress: ProgressCallback
) -> list[Fingerprint]:
    prints: list[Fingerprint] = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for item in pool.map(fingerprint, paths, names):
            prints.append(item)
            on_progress(len(prints), len(paths))
    return prints


def _part(on_progress: ProgressCallback | None, number: int, parts: int) -> ProgressCallback:
    """Progress of one pass out of several as progress of the whole."""

    def moved(done: int, total: int) -> None:
        if on_progress is not None:
            on_progress(number * total + done, parts * total)

    return moved


def measure(
    photographs: PictureSet, others: PictureSet, copied: npt.NDArray[np.bool_] | None, seed: int
) -> Measures:
    """Compare a set with photographs.

    Args:
        photographs: Of the training part.
        others: The set.
        copied: Whether each of the set copies a training photograph, [N]; None if not looked for.
        seed: Of the subsets of the kernel distance.
    """
    distance = kernel_distance(photographs.features, others.features, seed=seed)
    manifold = compare_manifolds(photographs.features, others.features)
    return Measures(
        pictures=len(others),
        against=len(photographs),
        kid=None if distance is None else Distance(**vars(distance)),
        precision=None if manifold is None else manifold.precision,
        recall=None if manifold is None else manifold.recall,
        density=None if manifold is None else manifold.density,
        coverage=None if manifold is None else manifold.coverage,
        diversity=diversity(others.features),
        agreement=agreement(others),
        copies=None if copied is None else int(copied.sum()),
    )


def agreement(pictures: PictureSet) -> dict[str, float | None]:
    """Per task, the share of pictures whose label is read."""
    result: dict[str, float | None] = {}
    for task, right in pictures.right.items():
        judged = right[right >= 0]
        result[task] = float(judged.mean()) if len(judged) else None
    return result


def mean_measures(measures: Sequence[Measures]) -> Measures:
    """The mean of repeated measures of sets of one size; the spread of KID is that among them."""
    first = measures[0]

    def mean(name: str) -> float | None:
        values = [value for item in measures if (value := getattr(item, name)) is not None]
        return float(np.mean(values)) if values else None

    distances = [item.kid for item in measures if item.kid is not None]
    kid = None
    if distances:
        values = [item.value for item in distances]
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else distances[0].std
        kid = Distance(value=float(np.mean(values)), std=spread, subset_size=first.pictures)
    return first.model_copy(
        update={
            "kid": kid,
            **{
                name: mean(name)
                for name in ("precision", "recall", "density", "coverage", "diversity")
            },
        }
    )


def find_copies(
    pictures: Looks, photographs: Looks, thresholds: CopyThresholds
) -> tuple[npt.NDArray[np.bool_], list[Copy]]:
    """Which pictures copy a photograph, and which one.

    Returns:
        Flags [N], and one entry per picture that does.
    """
    flags, found = [], []
    for start in range(0, len(pictures), _BLOCK):
        part = pictures.take(range(start, min(start + _BLOCK, len(pictures))))
        near = nearness(part, photographs)
        copies = near.copies(thresholds)
        flags.append(copies.any(axis=1))
        for row in np.flatnonzero(flags[-1]):
            original = int(np.where(copies[row], near.bits[row], np.inf).argmin())
            apart = None if near.features is None else float(near.features[row, original])
            found.append(
                Copy(
                    picture=part.names[row],
                    photograph=photographs.names[original],
                    bits=float(near.bits[row, original]),
                    detail=float(near.detail[row, original]),
                    features=apart,
                )
            )
    return np.concatenate(flags) if flags else np.zeros(0, dtype=np.bool_), found
