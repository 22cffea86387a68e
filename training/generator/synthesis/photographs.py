"""The real photographs: what none may copy, and what a classifier reads of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from porcelain.bundle import Bundle
from porcelain.dataset import Dataset
from porcelain.errors import DatasetError
from porcelain.predictor import Predictor
from training.classifier.evaluation.inference import answer
from training.data.digests import known_parts
from training.data.fingerprints import Fingerprint, fingerprint_dataset
from training.data.split import Split
from training.generator.synthesis.checks import Reading, misread_tasks, read_labels
from training.generator.synthesis.copies import (
    CopyThresholds,
    Looks,
    Nearness,
    groups_of,
    learn_thresholds,
    looks_of,
)
from training.generator.synthesis.plan import Plan, kind_of, labels_of

ReadingProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Photographs:
    """The real pictures that none may copy.

    Attributes:
        looks: Of all of them.
        thresholds: How near those of the training part come to each other.
        prints: Of all of them, for whoever asks for their digests.
        readings: What the classifier reads of each; empty without one.
    """

    looks: Looks
    thresholds: CopyThresholds
    prints: tuple[Fingerprint, ...]
    readings: tuple[Mapping[str, Reading], ...] = ()


@dataclass(frozen=True)
class Nearest:
    """The photographs that a picture is nearest to.

    Attributes:
        by_hash: The one with the nearest perceptual hash.
        bits: Its differing bits, out of 128.
        by_features: The one with the nearest features; None without a classifier.
        distance: Its cosine distance.
        by_detail: The one whose fine detail correlates best, if any was near enough to try.
        detail: Its correlation.
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
        quantile: See `learn_thresholds`.
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
    looks = looks_of(chosen, features)
    learned = [i for i, item in enumerate(chosen) if item.name in training]
    groups = groups_of([records[i] for i in learned], [chosen[i] for i in learned])
    thresholds = learn_thresholds(looks.take(learned), groups, quantile)
    return Photographs(looks, thresholds, tuple(chosen), tuple(readings))


def describe_nearest(
    near: Nearness, names: Sequence[str], thresholds: CopyThresholds
) -> list[Nearest]:
    """Per picture the photographs that it is nearest to.

    Args:
        near: Of the pictures to the photographs.
        names: Of the photographs.
        thresholds: From which likeness a picture is a copy.
    """
    copies = near.copies(thresholds)
    result = []
    for row in range(len(near.bits)):
        hashed, detailed = int(near.bits[row].argmin()), int(near.detail[row].argmax())
        alike = None if near.features is None else int(near.features[row].argmin())
        detail = float(near.detail[row, detailed])
        result.append(
            Nearest(
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
    near: Nearness, copies: npt.NDArray[np.bool_], row: int, names: Sequence[str]
) -> str | None:
    """Of the photographs that a picture copies, the one whose hash is nearest."""
    if not copies[row].any():
        return None
    return names[int(np.where(copies[row], near.bits[row], np.inf).argmin())]


def untaught(plan: Plan, classifier: Bundle) -> list[str]:
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


def learned_test_pictures(classifier: Bundle, photographs: Photographs, split: Split) -> list[str]:
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
