"""Sets of pictures with their features, compared with the photographs group by group."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from porcelain.vocabulary import TASKS
from training.classifier.evaluation.inference import ProgressCallback
from training.data.allotment import Kind
from training.data.fingerprints import Fingerprint, fingerprint
from training.generator.evaluation.context import EvaluationContext, EvaluationSettings
from training.generator.evaluation.features import ClassifierSpace, FeatureSpace, features_of
from training.generator.evaluation.groups import (
    Group,
    Rows,
    groups_of_photographs,
    rare_labels,
    rows_of,
)
from training.generator.evaluation.metrics import (
    KernelDistance,
    compare_manifolds,
    diversity,
    kernel_distance,
)
from training.generator.evaluation.results import (
    Copy,
    GeneratorEvaluation,
    GroupResult,
    Measures,
)
from training.generator.synthesis.checks import read_labels
from training.generator.synthesis.copies import (
    CopyThresholds,
    Descriptors,
    descriptors_of,
    groups_of,
    learn_thresholds,
    pair_distances,
)
from training.generator.synthesis.plan import labels_of
from training.generator.synthesis.results import ModelName

_BLOCK = 256


@dataclass(frozen=True)
class PictureSet:
    """N readable pictures.

    Attributes:
        paths: Their files.
        prints: What reading them told.
        kinds: What they show, or are to show.
        features: In the space that distances are measured in, [N, F].
        descriptors: What copies are recognised by.
        right: Per task, whether the classifier reads the label: 1, 0, or -1 where there is no
            label or none that it was taught, [N].
        extra: Pictures drawn beside the others because they are rare, [N]; None without such.
    """

    paths: tuple[Path, ...]
    prints: tuple[Fingerprint, ...]
    kinds: tuple[Kind, ...]
    features: npt.NDArray[np.float32]
    descriptors: Descriptors
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
            self.descriptors.take(chosen),
            {task: values[chosen] for task, values in self.right.items()},
            None if self.extra is None else self.extra[chosen],
        )


def read_picture_set(
    paths: Sequence[Path],
    names: Sequence[str],
    kinds: Sequence[Kind],
    space: FeatureSpace,
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
        extra: Pictures sampled beside the others because they are rare, [N]; None without such.
    """
    passes = 2 if reader is None or reader is space else 3
    prints = _fingerprints(paths, names, _part(on_progress, 0, passes))
    good = [i for i, item in enumerate(prints) if item.likeness is not None]
    answers = None
    if reader is not None:
        answers = reader.answers([paths[i] for i in good], _part(on_progress, 1, passes))
        good = [good[i] for i in answers.readable]
    if answers is not None and reader is space:
        found = features_of(answers)
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
        descriptors_of([prints[i] for i in good], features),
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
        photographs: Photographs of the training part.
        others: The set.
        copied: Whether each of the set copies a training photograph, [N]; None if not looked for.
        seed: Seed of the subsets of the kernel distance.
    """
    distance = kernel_distance(photographs.features, others.features, seed=seed)
    manifold = compare_manifolds(photographs.features, others.features)
    return Measures(
        pictures=len(others),
        against=len(photographs),
        kid=distance,
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
        kid = KernelDistance(value=float(np.mean(values)), std=spread, subset_size=first.pictures)
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
    pictures: Descriptors, photographs: Descriptors, thresholds: CopyThresholds
) -> tuple[npt.NDArray[np.bool_], list[Copy]]:
    """Which pictures copy a photograph, and which one.

    Returns:
        Flags [N], and one entry per picture that does.
    """
    flags, found = [], []
    for start in range(0, len(pictures), _BLOCK):
        part = pictures.take(range(start, min(start + _BLOCK, len(pictures))))
        near = pair_distances(part, photographs)
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


HALVES, HELD_OUT, BASE, LORA, FOLDER = "halves", "held out", "base", "lora", "synthetic"
VARIANTS: Final = {
    HALVES: "one half of the training photographs against the other, mean of five halvings",
    HELD_OUT: "photographs of validation and test, which the generator has not learned from",
    BASE: "sampled from the base model without the LoRA",
    LORA: "sampled from the generator, unfiltered",
    FOLDER: "the dataset folder given by --synthetic",
}
_HALVINGS = 5


def compare(
    settings: EvaluationSettings,
    context: EvaluationContext,
    training: PictureSet,
    others: Mapping[str, PictureSet],
) -> GeneratorEvaluation:
    """Compare sets of pictures with the photographs of the training part, group by group.

    Args:
        settings: Settings of the evaluation.
        context: What to measure with.
        training: The photographs of the training part.
        others: The sets, by the names in `VARIANTS`.
    """
    rare = rare_labels(training.kinds)
    by_name = {record.file_name: record for record in context.photographs.records}
    objects = groups_of([by_name[item.name] for item in training.prints], training.prints)
    learned = learn_thresholds(training.descriptors, objects, settings.copy_quantile)
    # Without features, so that the count does not depend on who reads the labels: what a synthesis
    # kept is judged as it was then, by whatever classifier.
    thresholds = replace(learned, features=None)
    copies: dict[str, list[Copy]] = {}
    copied = {}
    for name, pictures in others.items():
        copied[name], copies[name] = find_copies(
            pictures.descriptors, training.descriptors, thresholds
        )
    groups = [
        _compare_group(group, training, objects, others, copied, rare, settings.seed)
        for group in groups_of_photographs(training.kinds, rare)
    ]
    return GeneratorEvaluation(
        generator=ModelName.of(context.bundle),
        base=context.bundle.generator.base.reference,
        space=context.space.name,
        classifier=None if context.classifier is None else ModelName.of(context.classifier),
        data_digest=context.photographs.digest(),
        longest_side=context.longest_side,
        sampling=context.bundle.generator.sampling,
        seed=settings.seed,
        variants={name: VARIANTS[name] for name in (HALVES, *others)},
        rare={task: sorted(labels) for task, labels in rare.items()},
        groups=groups,
        copies=copies,
        warnings=list(context.warnings),
    )


def _compare_group(
    group: Group,
    training: PictureSet,
    objects: npt.NDArray[np.int64],
    others: Mapping[str, PictureSet],
    copied: Mapping[str, npt.NDArray[np.bool_]],
    rare: Mapping[str, frozenset[str]],
    seed: int,
) -> GroupResult:
    rows = rows_of(group, training.kinds, rare)
    real = training.take(rows)
    variants: dict[str, Measures] = {}
    halves = halve(real, objects[rows], seed)
    if halves is not None:
        variants[HALVES] = halves
    for name, pictures in others.items():
        chosen = rows_of(group, pictures.kinds, rare, pictures.extra)
        if len(chosen):
            flags = copied[name][chosen]
            variants[name] = measure(real, pictures.take(chosen), flags, seed)
    return GroupResult(
        **vars(group),
        photographs=len(real),
        diversity=diversity(real.features),
        variants=variants,
    )


def halve(photographs: PictureSet, objects: npt.NDArray[np.int64], seed: int) -> Measures | None:
    """Measure one half of the photographs against the other, several times.

    Args:
        photographs: To be halved.
        objects: Number of the object that each shows, [N]; one object stays in one half.
        seed: Seed of the halvings.

    Returns:
        The mean, with what the classifier reads of all of them; None for a single object.
    """
    names = np.unique(objects)
    if len(names) < 2:
        return None
    rng = np.random.default_rng(seed)
    measures = []
    for _ in range(_HALVINGS):
        first = np.isin(objects, rng.permutation(names)[: len(names) // 2])
        one, other = (
            photographs.take(np.flatnonzero(first)),
            photographs.take(np.flatnonzero(~first)),
        )
        measures.append(measure(one, other, None, seed))
    mean = mean_measures(measures)
    return mean.model_copy(update={"agreement": agreement(photographs)})
