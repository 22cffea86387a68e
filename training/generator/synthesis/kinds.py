"""Kinds of object: which labels go together, and which of them photographs are known of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from porcelain.bundle import GeneratorInfo
from porcelain.dataset import Record
from porcelain.errors import UserError
from porcelain.vocabulary import TASKS
from training.data.allotment import Kind

KindCounts = Mapping[Kind, int]
"""Training photographs per kind."""


def kind_of(labels: Mapping[str, str | None]) -> Kind:
    """The kind that shows these labels, in the order of `TASKS`."""
    return tuple(labels.get(task) or None for task in TASKS)


def labels_of(kind: Kind) -> dict[str, str]:
    """The labels of a kind that are known."""
    return {task: label for task, label in zip(TASKS, kind, strict=True) if label is not None}


def parse_kind(text: str) -> Kind:
    """Read `glaze=celadon,type=vase`; a task that is not named stays open.

    Raises:
        UserError: Not of this form, or a task that does not exist or is named twice.
    """
    labels: dict[str, str | None] = {}
    for part in text.split(","):
        task, equals, label = (piece.strip() for piece in part.partition("="))
        if not equals or not label or task not in TASKS or task in labels:
            raise UserError(
                f"--labels {text!r}: {part.strip()!r} is not one of {', '.join(TASKS)} with a "
                "label, each once, such as glaze=celadon,type=vase."
            )
        labels[task] = label
    return kind_of(labels)


def count_records(records: Iterable[Record]) -> KindCounts:
    """Pictures per kind; those without any label teach no kind and are left out."""
    counts = Counter(kind_of(record.labels) for record in records)
    return {kind: count for kind, count in counts.items() if any(kind)}


def count_bundle(info: GeneratorInfo) -> KindCounts:
    """What the generator has seen, as its bundle tells."""
    counts: Counter[Kind] = Counter()
    for combination in info.combinations:
        counts[kind_of(combination.labels)] += combination.count
    return {kind: count for kind, count in counts.items() if any(kind)}


def task_counts(known: KindCounts) -> dict[str, Counter[str]]:
    """Training photographs per task and label."""
    result: dict[str, Counter[str]] = {task: Counter() for task in TASKS}
    for kind, count in known.items():
        for task, label in labels_of(kind).items():
            result[task][label] += count
    return result


def photographs_of(kind: Kind, known: KindCounts) -> int:
    """Training photographs that show every known label of `kind`, and perhaps more."""
    return sum(count for other, count in known.items() if shows(other, kind))


def shows(shown: Kind, wanted: Kind) -> bool:
    """Whether what is shown has every known label of what is wanted, and perhaps more."""
    return all(label is None or label == its for label, its in zip(wanted, shown, strict=True))


def describe(kind: Kind) -> str:
    """The kind's labels for people, such as `song celadon longquan bowl`."""
    return " ".join(label for label in kind if label is not None)
