"""What the generator's training saw of a combination of labels, told before it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

from porcelain.vocabulary import TASKS
from services.studio.names import Names

Standing = Literal["free", "seen", "unseen", "apart"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of a combination.

    Attributes:
        standing: `free`, nothing was chosen; `seen`, photographs show it; `unseen`, each two of
            its labels were seen together, but not all; `apart`, two of them never were, as for
            what history never made.
        sentence: The same in words.
    """

    standing: Standing
    sentence: str

    @property
    def needs_consent(self) -> bool:
        """Whether the generator makes it only when explicitly allowed."""
        return self.standing in ("unseen", "apart")


def judge(
    wanted: Mapping[str, str | None],
    seen: Sequence[Mapping[str, Any]],
    names: Names | None = None,
) -> Verdict:
    """Judge a choice of labels.

    Args:
        wanted: Slug per task; None or blank where anything goes.
        seen: `combinations` of the generator's `/v1/model`: labels and how often.
        names: What labels are called.
    """
    asked = {task: label for task in TASKS if (label := wanted.get(task))}
    if not asked:
        return Verdict("free", "Nothing chosen: any kind of vessel may come.")
    count = _count(asked, seen)
    if count:
        noun = "photograph" if count == 1 else "photographs"
        return Verdict("seen", f"The model learned from {count} {noun} of this combination.")
    for pair in combinations(asked.items(), 2):
        if not _count(dict(pair), seen):
            called = " with ".join((names or Names()).label(*one) for one in pair)
            return Verdict(
                "apart",
                f"No photograph shows {called}: perhaps it was never made. A picture of it is "
                "invention and no evidence.",
            )
    return Verdict(
        "unseen",
        "Each two of these labels were seen together, but never all of them: the picture will be "
        "the model's guess.",
    )


def _count(asked: Mapping[str, str], seen: Sequence[Mapping[str, Any]]) -> int:
    return sum(
        int(one["count"])
        for one in seen
        if all(one["labels"].get(task) == label for task, label in asked.items())
    )
