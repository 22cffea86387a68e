"""The evaluation as one self-contained HTML page: measures, and pictures side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from porcelain.images import decode_image
from porcelain.vocabulary import TASKS
from training.generator.evaluation.comparison import HELD_OUT
from training.generator.evaluation.groups import Group, rows_of
from training.generator.evaluation.results import GeneratorEvaluation, GroupResult
from training.generator.evaluation.sets import PictureSet
from training.pages.page import TASK_NAMES, page_templates, thumbnail_uri

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
