"""The pictures under review: whose turn it is, and what a person has said of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from porcelain.vocabulary import TASKS
from services.studio.folders import Entry
from services.studio.ordering import review_order


@dataclass
class Item:
    """A picture with the model's answer and the labels that a person gives it.

    Attributes:
        labels: At first the model's, except where it abstained: those are unknown.
        done: Whether a person has confirmed the labels.
    """

    name: str
    data: bytes
    answer: dict[str, Any]
    labels: dict[str, str | None] = field(default_factory=dict)
    done: bool = False

    def __post_init__(self) -> None:
        for task in TASKS:
            found = self.answer["predictions"].get(task)
            sure = found is not None and not found["abstained"]
            self.labels.setdefault(task, found["label"] if found and sure else None)

    def candidates(self, task: str) -> list[str | None]:
        """Labels to choose from, the most probable first, and last None: unknown."""
        found = self.answer["predictions"].get(task)
        return [*(one["label"] for one in found["top"]), None] if found else [None]

    def entry(self) -> Entry:
        """The picture as a row of a dataset folder."""
        synthetic = bool(self.answer.get("warnings"))
        return Entry(self.data, self.labels, synthetic, {"source": "studio review"})


class ReviewQueue:
    """Pictures in the order of `review_order`; keys move in it."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.place = 0
        self.task = TASKS[0]
        self.begun = False

    @property
    def current(self) -> Item | None:
        """The picture whose turn it is; None when all are done."""
        return self.items[self.place] if self.place < len(self.items) else None

    @property
    def done(self) -> list[Item]:
        """The confirmed ones."""
        return [item for item in self.items if item.done]

    def add(self, item: Item) -> None:
        """Take a picture in; those already passed and the one on screen keep their places."""
        kept = self.items[: self.place + 1]
        waiting = [*self.items[self.place + 1 :], item]
        order = review_order([one.answer for one in waiting])
        self.items = kept + [waiting[i] for i in order]

    def sort(self) -> None:
        """Order all that are not yet done; for when nothing was looked at so far."""
        if not self.begun:
            self.items = [self.items[i] for i in review_order([one.answer for one in self.items])]

    def press(self, key: str) -> bool:
        """Do what a key asks for; returns whether it means anything."""
        self.begun = True
        if key == "Backspace":
            self.place = max(0, self.place - 1)
            return True
        item = self.current
        if item is None:
            return False
        if key in ("ArrowUp", "ArrowDown"):
            step = 1 if key == "ArrowDown" else -1
            self.task = TASKS[(TASKS.index(self.task) + step) % len(TASKS)]
        elif key in ("ArrowLeft", "ArrowRight"):
            choices = item.candidates(self.task)
            step = 1 if key == "ArrowRight" else -1
            now = item.labels[self.task]
            at = choices.index(now) if now in choices else 0
            item.labels[self.task] = choices[(at + step) % len(choices)]
        elif key.isdigit() and 1 <= int(key) <= len(item.candidates(self.task)):
            item.labels[self.task] = item.candidates(self.task)[int(key) - 1]
        elif key.lower() == "u":
            item.labels[self.task] = None
        elif key == "Enter":
            item.done = True
            self.place += 1
            self.task = TASKS[0]
        else:
            return False
        return True
