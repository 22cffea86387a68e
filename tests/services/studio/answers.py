"""Answers of the classifier, as its service gives them."""

from __future__ import annotations

from typing import Any

from porcelain.vocabulary import TASKS

LABELS = ("a", "b", "c")


def answer(*chances: float, abstained: bool = False, **more: Any) -> dict[str, Any]:
    top = [
        {"label": label, "probability": chance}
        for label, chance in sorted(zip(LABELS, chances, strict=True), key=lambda one: -one[1])
    ]
    prediction = {**top[0], "abstained": abstained, "top": top}
    return {"predictions": dict.fromkeys(TASKS, prediction), "model": {"digest": "d"}, **more}
