"""An evaluation as tables for people at a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from porcelain.vocabulary import TASKS
from training.generator.evaluation.results import (
    Distance,
    GeneratorEvaluation,
    GroupResult,
    Measures,
)


def evaluation_view(evaluation: GeneratorEvaluation) -> RenderableType:
    """All kinds, rare kinds, then every class in a line."""
    whole = [_group_table(group) for group in evaluation.groups if group.task is None]
    return Group(Text(f"Feature space: {evaluation.space}"), *whole, _class_table(evaluation))


def _group_table(group: GroupResult) -> Table:
    title = "All kinds" if group.name == "all" else "Rare kinds"
    table = Table(
        "pictures",
        "n",
        "KID",
        "prec.",
        "recall",
        "dens.",
        "cover.",
        "div.",
        *TASKS,
        "copies",
        title=f"{title}: {group.photographs} training photographs",
        padding=(0, 0, 0, 1),
    )
    for column in table.columns[1:]:
        column.justify = "right"
    table.columns[2].no_wrap = True
    for name, item in group.variants.items():
        shares = (item.precision, item.recall, item.density, item.coverage, item.diversity)
        table.add_row(
            name,
            str(item.pictures),
            _distance(item.kid),
            *(_number(value) for value in shares),
            *(_share(item.agreement[task]) for task in TASKS),
            "–" if item.copies is None else str(item.copies),
        )
    return table


def _class_table(evaluation: GeneratorEvaluation) -> Table:
    variants = list(evaluation.variants)
    table = Table(
        "task",
        "label",
        "photos",
        *variants,
        title="By class (* rare): KID, and the share read as planned",
        padding=(0, 0, 0, 1),
    )
    for column in table.columns[2:]:
        column.justify = "right"
        column.no_wrap = True
    for group in evaluation.groups:
        if group.task is not None and group.label is not None:
            cells = (_cell(group.variants.get(name), group.task) for name in variants)
            label = escape(group.label) + (" *" if group.rare else "")
            table.add_row(group.task, label, str(group.photographs), *cells)
    return table


def _cell(item: Measures | None, task: str) -> str:
    if item is None:
        return "–"
    value = "–" if item.kid is None else f"{item.kid.value:.3f}"
    return f"{value} {_share(item.agreement[task]):>4}"


def _distance(distance: Distance | None) -> str:
    return "–" if distance is None else f"{distance.value:.4f} ± {distance.std:.4f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"
