"""An evaluation for people: a self-contained HTML page, and tables at a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Group as Rows
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from porcelain.images import decode_image
from porcelain.vocabulary import TASKS
from training.generator.evaluation.comparison import HELD_OUT, PictureSet
from training.generator.evaluation.groups import Group, rows_of
from training.generator.evaluation.results import (
    Distance,
    GeneratorEvaluation,
    GroupResult,
    Measures,
)
from training.pages.page import TASK_NAMES, page_templates, thumbnail_uri


def evaluation_view(evaluation: GeneratorEvaluation) -> RenderableType:
    """All kinds, rare kinds, then every class in a line."""
    whole = [_group_table(group) for group in evaluation.groups if group.task is None]
    return Rows(Text(f"Feature space: {evaluation.space}"), *whole, _class_table(evaluation))


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


TEMPLATE: Final = "evaluation.html.jinja"
PHOTOGRAPHS: Final = "photographs"
SHOWN: Final = 5
"""Pictures of a class and variant."""

_SIDE: Final = 128


@dataclass(frozen=True)
class Strip:
    """Pictures of one class, side by side.

    Attributes:
        result: The class and its measures.
        pictures: Data URIs per variant, the photographs first.
    """

    result: GroupResult
    pictures: dict[str, list[str]]


def render_report(
    evaluation: GeneratorEvaluation, training: PictureSet, others: Mapping[str, PictureSet]
) -> str:
    """One HTML page with no reference to anything outside itself.

    Args:
        evaluation: The measures.
        training: The photographs of the training part.
        others: The sets that were measured; held-out photographs are not shown.
    """
    rare = {task: frozenset(labels) for task, labels in evaluation.rare.items()}
    sets = {PHOTOGRAPHS: training, **others}
    strips = [
        Strip(
            group,
            {
                name: _pictures(group, pictures, rare)
                for name, pictures in sets.items()
                if name != HELD_OUT
            },
        )
        for group in evaluation.groups
        if group.task is not None
    ]
    return (
        page_templates("training.generator.evaluation")
        .get_template(TEMPLATE)
        .render(
            evaluation=evaluation,
            variants=list(evaluation.variants),
            tasks=TASK_NAMES,
            strips={task: [s for s in strips if s.result.task == task] for task in TASKS},
        )
    )


def _pictures(
    result: GroupResult, pictures: PictureSet, rare: Mapping[str, frozenset[str]]
) -> list[str]:
    """Some of a class, evenly spread over its kinds."""
    group = Group(result.name, result.task, result.label, result.rare)
    rows = rows_of(group, pictures.kinds, rare, pictures.extra)
    if not len(rows):
        return []
    spread = np.unique(np.linspace(0, len(rows) - 1, min(SHOWN, len(rows))).round().astype(int))
    return [_thumbnail(pictures.paths[int(row)]) for row in rows[spread]]


def _thumbnail(path: Path) -> str:
    return thumbnail_uri(decode_image(path.read_bytes(), longest_side=_SIDE).pixels, _SIDE)
