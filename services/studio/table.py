"""Answers as a CSV table that opens in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

from porcelain.vocabulary import TASKS
from services.studio.names import Names

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def answers_csv(
    answers: Iterable[tuple[str, Mapping[str, Any] | str]], names: Names | None = None
) -> bytes:
    """The table of named answers of `/v1/classify`, UTF-8 with a byte order mark for Excel.

    Args:
        answers: File names and answers; in place of one, why there is none.
        names: What labels are called.
    """
    columns = ["file_name"]
    for task in TASKS:
        columns += [
            task,
            f"{task}_name",
            f"{task}_probability",
            f"{task}_not_sure",
            f"{task}_known",
        ]
    columns += [
        "unusual_combination",
        "in_domain",
        "in_domain_score",
        "warnings",
        "model_digest",
        "error",
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    for name, answer in answers:
        if isinstance(answer, str):
            writer.writerow([_harmless(name), *[""] * (len(columns) - 2), answer])
        else:
            writer.writerow([_harmless(name), *_cells(answer, names or Names()), ""])
    return text.getvalue().encode("utf-8-sig")


def _cells(answer: Mapping[str, Any], names: Names) -> list[object]:
    cells: list[object] = []
    for task in TASKS:
        found = answer["predictions"].get(task)
        if found is None:
            cells += [""] * 5
            continue
        label = found["label"]
        cells += [label, names.label(task, label), found["probability"], found["abstained"]]
        cells.append(bool(found.get("known")))
    cells.append((answer.get("unusual_combination") or {}).get("note", ""))
    domain = answer.get("in_domain") or {}
    cells += [domain.get("value", ""), domain.get("score", "")]
    return [*cells, " ".join(answer.get("warnings") or []), answer["model"]["digest"]]


def _harmless(name: str) -> str:
    """A spreadsheet would run a cell that begins like a formula."""
    return f"'{name}" if name.startswith(_FORMULA_STARTS) else name
