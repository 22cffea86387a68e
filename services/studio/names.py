"""How labels are called on the page: English and Chinese, from the taxonomy."""

from __future__ import annotations

from typing import Final

from porcelain.vocabulary import Taxonomy, default_taxonomy

TASK_NAMES: Final = {"dynasty": "Dynasty", "glaze": "Glaze", "kiln": "Kiln", "type": "Type"}
TASK_CHINESE: Final = {"dynasty": "朝代", "glaze": "釉色", "kiln": "窯口", "type": "器型"}


def label_name(task: str, label: str, taxonomy: Taxonomy | None = None) -> str:
    """English and Chinese name of a label, such as `Celadon · 青釉`."""
    term = (taxonomy or default_taxonomy()).term(task, label)
    return f"{term.en} · {term.zh}" if term.zh else term.en


def task_name(task: str) -> str:
    """English and Chinese name of a task."""
    return f"{TASK_NAMES.get(task, task.capitalize())} {TASK_CHINESE.get(task, '')}".strip()
