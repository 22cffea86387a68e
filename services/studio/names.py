"""How labels are called on the page: English and Chinese, as the service's bundle names them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from porcelain.vocabulary import default_taxonomy, task_term


@dataclass(frozen=True)
class Names:
    """What people call labels.

    Attributes:
        given: English and Chinese name by task and label: `names` of a service's `/v1/model`.
    """

    given: Mapping[str, Mapping[str, Mapping[str, str | None]]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Mapping[str, Any]) -> Names:
        """Those that a service's `/v1/model` gives."""
        return cls(model.get("names") or {})

    def label(self, task: str, label: str) -> str:
        """English and Chinese name, such as `Celadon · 青釉`.

        What the service does not name is called as in the taxonomy that ships.
        """
        named = self.given.get(task, {}).get(label)
        if named is None:
            named = default_taxonomy().term(task, label).model_dump()
        english, chinese = named.get("en") or label, named.get("zh")
        return f"{english} · {chinese}" if chinese else english

    def others(self, task: str, shown: Iterable[str | None]) -> dict[str, str]:
        """Every other label with its name: the model's, and those of the taxonomy that ships.

        A picture may show what no model has learned yet: that is what it is reviewed for.
        """
        known = {*self.given.get(task, {}), *getattr(default_taxonomy(), task)}.difference(shown)
        known.discard("unknown")  # has a button of its own, and is saved as blank
        return {label: self.label(task, label) for label in sorted(known)}


def task_name(task: str) -> str:
    """English and Chinese name of a task."""
    term = task_term(task)
    return f"{term.en} {term.zh or ''}".strip()
