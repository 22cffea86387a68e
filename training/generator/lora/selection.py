"""Which pictures a LoRA learns from: photographs of the training part, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from porcelain.bundle import Combination
from porcelain.dataset import Dataset, Record, subset
from porcelain.errors import DatasetError
from training.data.split import Split
from training.data.undeclared import refuse_undeclared
from training.generator.synthesis.plan import count_records, labels_of, task_counts


def photographs_to_learn(
    dataset: Dataset, split: Split, message: Callable[[str], None] = lambda text: None
) -> Dataset:
    """The training part without generated pictures, which would teach a model its own faults.

    Generated pictures that their rows declare are left out; those that are declared real are a
    fault. Only pictures of the training part are opened.

    Args:
        dataset: All pictures.
        split: Its parts.
        message: Hears how many pictures were left out.

    Raises:
        DatasetError: Nothing is left, or a picture is synthetic and declared real.
    """
    training = subset(dataset, split.names["train"])
    refuse_undeclared(training)
    real = [record.file_name for record in training.records if not record.synthetic]
    left_out = len(training) - len(real)
    if not real:
        raise DatasetError(
            f"{dataset.root} has no photograph in its training part: of {len(training)} pictures "
            f"there, {left_out} are generated; a LoRA learns from photographs alone."
        )
    if left_out:
        message(f"Left out {left_out} generated pictures: a LoRA learns from photographs alone")
    return subset(dataset, real)


def combinations_of(records: Sequence[Record]) -> list[Combination]:
    """Which labels occur together, the most frequent first; pictures without any do not count."""
    combinations = [
        Combination(labels=labels_of(kind), count=count)
        for kind, count in count_records(records).items()
    ]
    return sorted(combinations, key=lambda one: (-one.count, sorted(one.labels.items())))


def labels_that_occur(records: Sequence[Record]) -> dict[str, list[str]]:
    """The labels of each task that occur, sorted; tasks without any are left out."""
    counts = task_counts(count_records(records))
    return {task: sorted(labels) for task, labels in counts.items() if labels}
