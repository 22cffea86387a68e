"""The answer of a rule: a label, or a blank with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Why = Literal[
    "mapped",
    "not stated",
    "several",
    "hedged",
    "fields disagree",
    "outside the labels",
    "undecided",
]


@dataclass(frozen=True)
class Reading:
    """What a rule made of one record for one task.

    Attributes:
        label: The label; None leaves it blank.
        why: What kind of answer this is.
        evidence: The words that decided; where none did, what the field says instead.
    """

    label: str | None
    why: Why
    evidence: str = ""


def mapped(label: str, evidence: str) -> Reading:
    """A label and the words that gave it."""
    return Reading(label, "mapped", evidence)


def blank(why: Why, evidence: str = "") -> Reading:
    """No label, and why."""
    return Reading(None, why, evidence)
