"""What must be known of a classifier before its word on synthetic pictures is taken."""

from __future__ import annotations

from collections.abc import Mapping

from porcelain.bundle import Bundle
from training.data.digests import known_parts
from training.data.split import Split
from training.generator.synthesis.agreement import misread_tasks
from training.generator.synthesis.kinds import labels_of
from training.generator.synthesis.photographs import Photographs
from training.generator.synthesis.plan import Plan


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
