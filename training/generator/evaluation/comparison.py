"""Sets of pictures held against the photographs, group by group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from training.generator.evaluation.groups import (
    Group,
    groups_of_photographs,
    rare_labels,
    rows_of,
)
from training.generator.evaluation.manifold import diversity
from training.generator.evaluation.results import (
    Copy,
    GeneratorEvaluation,
    GroupResult,
    Measures,
)
from training.generator.evaluation.ruler import Ruler
from training.generator.evaluation.sets import (
    PictureSet,
    agreement,
    find_copies,
    mean_measures,
    measure,
)
from training.generator.evaluation.settings import EvaluationSettings
from training.generator.synthesis.copies import groups_of, learn_thresholds
from training.generator.synthesis.results import ModelName

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
    ruler: Ruler,
    training: PictureSet,
    others: Mapping[str, PictureSet],
) -> GeneratorEvaluation:
    """Compare sets of pictures with the photographs of the training part, group by group.

    Args:
        settings: Of the evaluation.
        ruler: What to measure with.
        training: The photographs of the training part.
        others: The sets, by the names in `VARIANTS`.
    """
    rare = rare_labels(training.kinds)
    by_name = {record.file_name: record for record in ruler.photographs.records}
    objects = groups_of([by_name[item.name] for item in training.prints], training.prints)
    learned = learn_thresholds(training.looks, objects, settings.copy_quantile)
    # Without features, so that the count does not depend on who reads the labels: what a synthesis
    # kept is judged as it was then, by whatever classifier.
    thresholds = replace(learned, features=None)
    copies: dict[str, list[Copy]] = {}
    copied = {}
    for name, pictures in others.items():
        copied[name], copies[name] = find_copies(pictures.looks, training.looks, thresholds)
    groups = [
        _compare_group(group, training, objects, others, copied, rare, settings.seed)
        for group in groups_of_photographs(training.kinds, rare)
    ]
    return GeneratorEvaluation(
        generator=ModelName.of(ruler.bundle),
        base=ruler.bundle.generator.base.reference,
        space=ruler.space.name,
        classifier=None if ruler.classifier is None else ModelName.of(ruler.classifier),
        data_digest=ruler.photographs.digest(),
        longest_side=ruler.longest_side,
        sampling=ruler.bundle.generator.sampling,
        seed=settings.seed,
        variants={name: VARIANTS[name] for name in (HALVES, *others)},
        rare={task: sorted(labels) for task, labels in rare.items()},
        groups=groups,
        copies=copies,
        warnings=list(ruler.warnings),
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
        seed: Of the halvings.

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
