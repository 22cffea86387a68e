"""The test answers of a whole experiment as arrays, one table per task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from porcelain.errors import DatasetError, UserError
from training.experiment.records import Arm, Experiment, Results

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_MISSING = -1


@dataclass(frozen=True)
class ArmAnswers:
    """What the models of one arm answered: every picture once per seed, folds pooled.

    Attributes:
        seeds: The S repetitions whose folds are all done, ascending.
        predicted: Class indices [S, N].
        folds: The fold in which each picture was tested [S, N].
        confidence: Probability of each answer [S, N].
    """

    seeds: tuple[int, ...]
    predicted: IntArray
    folds: IntArray
    confidence: FloatArray

    def only(self, seeds: Sequence[int]) -> ArmAnswers:
        """The same for some of the seeds."""
        rows = [self.seeds.index(seed) for seed in seeds]
        return ArmAnswers(
            tuple(seeds), self.predicted[rows], self.folds[rows], self.confidence[rows]
        )


@dataclass(frozen=True)
class TaskAnswers:
    """One task of an experiment.

    Attributes:
        task: Its name.
        labels: The C labels in index order.
        file_names: The N tested pictures whose label is known.
        truth: Their class indices [N].
        objects: The object of each picture, as an index [N].
        strata: The class of each of the G objects [G].
        arms: Answers by the arm's name; arms without one whole repetition are left out.
    """

    task: str
    labels: tuple[str, ...]
    file_names: tuple[str, ...]
    truth: IntArray
    objects: IntArray
    strata: IntArray
    arms: dict[str, ArmAnswers]

    @property
    def occurring(self) -> IntArray:
        """Pictures of each class [C]."""
        return np.bincount(self.truth, minlength=len(self.labels))

    @property
    def objects_per_class(self) -> IntArray:
        """Objects of each class [C]."""
        return np.bincount(self.strata, minlength=len(self.labels))


def paired(answers: TaskAnswers, arm: str, reference: str) -> tuple[ArmAnswers, ArmAnswers] | None:
    """The answers of two arms in the seeds that both have done; None where there is none."""
    if arm not in answers.arms or reference not in answers.arms:
        return None
    first, second = answers.arms[arm], answers.arms[reference]
    common = [seed for seed in first.seeds if seed in second.seeds]
    if not common:
        return None
    first, second = first.only(common), second.only(common)
    if not np.array_equal(first.folds, second.folds):
        raise DatasetError(
            f"{arm} and {reference} were tested on different folds in the same seed, so they "
            "cannot be paired; run the experiment anew in an empty folder."
        )
    return first, second


def read_answers(results: Results) -> dict[str, TaskAnswers]:
    """Gather the test answers per task.

    Tasks without a labelled picture are left out.

    Raises:
        UserError: No arm has one repetition with all its folds.
        DatasetError: An answer is of a picture or label that the experiment does not list, or a
            finished repetition lacks some.
    """
    experiment = results.experiment
    whole = {arm.name: _whole_seeds(results, arm) for arm in experiment.arms}
    if not any(whole.values()):
        raise UserError(
            f"No seed has all its {experiment.folds} folds yet; go on with "
            "`porcelain experiment run`."
        )
    table = results.predictions
    table = table.filter(pc.equal(table["split"], "test"))
    answers = {}
    for task in experiment.tasks:
        rows = table.filter(pc.and_(pc.equal(table["task"], task), pc.is_valid(table["truth"])))
        found = _task_answers(experiment, task, rows, whole)
        if len(found.truth):
            answers[task] = found
    return answers


def _whole_seeds(results: Results, arm: Arm) -> tuple[int, ...]:
    lacking = {key.seed for key in results.missing if key.arm == arm}
    return tuple(sorted(set(results.experiment.seeds) - lacking))


def _task_answers(
    experiment: Experiment, task: str, rows: pa.Table, whole: dict[str, tuple[int, ...]]
) -> TaskAnswers:
    labels = tuple(experiment.labels[task])
    pictures = [p for p in experiment.pictures if p.tested and p.labels.get(task) is not None]
    index = {label: i for i, label in enumerate(labels)}
    truth = np.asarray([index[str(p.labels[task])] for p in pictures], dtype=np.int64)
    _, first, objects = np.unique(
        np.asarray([p.object_id for p in pictures], dtype=object),
        return_index=True,
        return_inverse=True,
    )
    names = tuple(p.file_name for p in pictures)
    columns = {
        "picture": _indices(rows["file_name"], names, "picture"),
        "predicted": _indices(rows["predicted"], labels, f"{task} label"),
        "seed": rows["seed"].to_numpy().astype(np.int64),
        "fold": rows["fold"].to_numpy().astype(np.int64),
        "confidence": rows["confidence"].to_numpy().astype(np.float64),
    }
    arms = {}
    for arm in experiment.arms:
        if whole[arm.name]:
            chosen = _of_arm(rows, arm)
            own = {name: column[chosen] for name, column in columns.items()}
            arms[arm.name] = _arm_answers(arm.name, task, own, whole[arm.name], len(names))
    return TaskAnswers(task, labels, names, truth, objects, truth[first], arms)


def _arm_answers(
    name: str, task: str, rows: dict[str, npt.NDArray[Any]], seeds: tuple[int, ...], count: int
) -> ArmAnswers:
    rank = {seed: i for i, seed in enumerate(seeds)}
    place = np.asarray([rank.get(int(seed), _MISSING) for seed in rows["seed"]], dtype=np.int64)
    kept = place != _MISSING
    cells = (place[kept], rows["picture"][kept])
    predicted = np.full((len(seeds), count), _MISSING, dtype=np.int64)
    folds, confidence = predicted.copy(), np.zeros(predicted.shape)
    predicted[cells] = rows["predicted"][kept]
    folds[cells] = rows["fold"][kept]
    confidence[cells] = rows["confidence"][kept]
    if (predicted == _MISSING).any() or len(cells[0]) != predicted.size:
        raise DatasetError(
            f"The answers of {name} to {task} are not one per tested picture and seed; delete the "
            "units of that arm and run the experiment again."
        )
    return ArmAnswers(seeds, predicted, folds, confidence)


def _of_arm(rows: pa.Table, arm: Arm) -> npt.NDArray[np.bool_]:
    kind = np.asarray(pc.equal(rows["arm"], arm.kind))
    ratio = rows["ratio"].to_numpy()
    wanted = np.isnan(ratio) if arm.ratio is None else np.isclose(ratio, arm.ratio)
    chosen: npt.NDArray[np.bool_] = kind & wanted
    return chosen


def _indices(column: pa.ChunkedArray, names: Sequence[str], what: str) -> IntArray:
    found = pc.index_in(column, value_set=pa.array(names, pa.string()))
    if found.null_count:
        row = np.flatnonzero(np.asarray(pc.is_null(found)))[0]
        raise DatasetError(
            f"An answer names the {what} {column[int(row)]}, which the experiment does not list; "
            "its units are of another experiment."
        )
    places: IntArray = found.to_numpy().astype(np.int64)
    return places
