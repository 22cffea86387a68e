"""Labelled pictures beside what the bundle says of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from porcelain.dataset import Dataset, Record
from porcelain.errors import DatasetError
from porcelain.predictor import Predictor
from training.classifier.evaluation.inference import ProgressCallback, answer
from training.classifier.evaluation.metrics import UNKNOWN
from training.classifier.evaluation.results import Unreadable
from training.classifier.evaluation.selection import Selection


@dataclass(frozen=True)
class Predictions:
    """Readable pictures with their labels and the bundle's answers.

    Attributes:
        records: The N pictures.
        objects: What each shows.
        classes: Per task the bundle's labels, then the data's labels that it lacks, sorted.
        labels: Per task, indices into `classes` [N]; -1 where unknown.
        probabilities: Per task, calibrated [N, the bundle's labels].
        domain: Likeness to the training pictures [N]; None where the bundle cannot say.
    """

    records: tuple[Record, ...]
    objects: tuple[str, ...]
    classes: dict[str, list[str]]
    labels: dict[str, npt.NDArray[np.int64]]
    probabilities: dict[str, npt.NDArray[np.float32]]
    domain: npt.NDArray[np.float32] | None = None


def predict(
    predictor: Predictor,
    dataset: Dataset,
    selection: Selection,
    on_progress: ProgressCallback | None,
) -> tuple[Predictions, list[Unreadable]]:
    """Run the bundle on the chosen pictures.

    Raises:
        DatasetError: None of them can be read.
    """
    paths = [dataset.path(record) for record in selection.records]
    answers = answer(predictor, paths, on_progress)
    unreadable = [
        Unreadable(file_name=selection.records[index].file_name, reason=reason)
        for index, reason in answers.unreadable.items()
    ]
    if len(answers.readable) == 0:
        raise DatasetError(
            f"None of the {len(paths)} pictures chosen from {dataset.root} can be read, first "
            f"{unreadable[0].file_name}: {unreadable[0].reason}"
        )
    records = tuple(selection.records[i] for i in answers.readable)
    classes = {
        task: [*labels, *sorted({r.labels.get(task) or "" for r in records} - {*labels, ""})]
        for task, labels in predictor.info.labels.items()
    }
    index = {task: {label: i for i, label in enumerate(names)} for task, names in classes.items()}
    labels = {
        task: np.asarray([index[task].get(r.labels.get(task) or "", UNKNOWN) for r in records])
        for task in classes
    }
    objects = tuple(selection.objects[i] for i in answers.readable)
    found = Predictions(records, objects, classes, labels, answers.probabilities, answers.domain)
    return found, unreadable
