"""What a collection's own columns say of its pieces, as facts for the classifier."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Mapping, Sequence

from batch.inputs import Source, dataset_rows
from porcelain.bundle import ClassifierInfo
from porcelain.errors import UserError
from porcelain.label_prior import Known
from porcelain.predictor import label_prior


class Facts:
    """The facts of every row of `metadata.csv`: four bytes a row, and each set of facts once.

    Attributes:
        digest: SHA-256 over them, so that a job that goes on has the facts it began with.
    """

    def __init__(self, source: Source, tasks: Sequence[str], info: ClassifierInfo) -> None:
        """Read them.

        Args:
            source: A dataset folder.
            tasks: The columns to take facts from.
            info: Of the bundle that is to use them.

        Raises:
            UserError: Another kind of input, a task or label that the bundle does not have, a
                column that the folder does not have, or a bundle that cannot use facts.
            DatasetError: `metadata.csv` is not as the convention asks.
        """
        _check_tasks(tasks, info)
        if source.table is None:
            raise UserError(
                "--known needs a dataset folder, whose metadata.csv has the facts in the columns "
                f"{', '.join(tasks)}."
            )
        self._sets: list[Known] = []
        self._rows = array("I")
        numbers: dict[tuple[str, ...], int] = {}
        digest = hashlib.sha256()
        for line, row in enumerate(dataset_rows(source.table), start=2):
            labels = tuple(_label(row, task, info, source, line) for task in tasks)
            if labels not in numbers:
                numbers[labels] = len(self._sets)
                self._sets.append(
                    {task: label for task, label in zip(tasks, labels, strict=True) if label}
                )
            self._rows.append(numbers[labels])
            digest.update(",".join(labels).encode() + b"\n")
        self.digest = digest.hexdigest()

    def __getitem__(self, index: int) -> Known:
        """What is known of the picture at a place of the listing."""
        return self._sets[self._rows[index]]


def _check_tasks(tasks: Sequence[str], info: ClassifierInfo) -> None:
    for task in tasks:
        if task not in info.labels:
            raise UserError(
                f"--known: the bundle has no task {task!r}; its tasks are {', '.join(info.labels)}."
            )
    label_prior(info)


def _label(
    row: Mapping[str, str | None], task: str, info: ClassifierInfo, source: Source, line: int
) -> str:
    place = source.table
    if task not in row:
        raise UserError(f"{place} has no column {task}; leave it out of --known.")
    label = (row[task] or "").strip()
    if label and label not in info.labels[task]:
        raise UserError(
            f"{place} line {line}: {task} {label!r} is no label of the bundle, so it cannot be a "
            f"fact; blank it, leave {task} out of --known, or write one of "
            f"{', '.join(sorted(info.labels[task]))}."
        )
    return label
