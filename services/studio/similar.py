"""The training pictures that a picture is most like, as the page shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui

from porcelain.vocabulary import TASKS
from services.studio.names import Names
from services.studio.training_pictures import TrainingPictures


def training_copies(
    similar: Sequence[Mapping[str, Any]], training: TrainingPictures
) -> list[str | None]:
    """A small copy of each, from the bundle or the studio's own folder; None where neither has."""
    return [one.get("thumbnail") or training.copy_of(one["file_name"]) for one in similar]


def show_similar(
    similar: Sequence[Mapping[str, Any]], copies: Sequence[str | None], names: Names
) -> None:
    """A card for each, the most similar first.

    Args:
        similar: `similar` of an answer of `/v1/classify`.
        copies: Small copies, where there are any.
        names: What labels are called.
    """
    with ui.column().classes("w-full gap-2 mt-3").mark("similar"):
        ui.label("Most similar pictures that the model learned from").classes("font-medium")
        # On a phone they stand in one row that is pushed aside.
        with (
            ui.element("div")
            .classes("flex no-wrap overflow-x-auto sm:grid sm:grid-cols-5 gap-3 w-full")
            .props('tabindex=0 role=group aria-label="Similar training pictures"')
        ):
            for one, copy in zip(similar, copies, strict=True):
                with ui.element("div").classes("porcelain-similar"):
                    _show_one(one, copy, names)
        if not any(copies):
            ui.label("The model keeps their names and labels, not the pictures.").classes(
                "porcelain-quiet"
            )


def _show_one(one: Mapping[str, Any], copy: str | None, names: Names) -> None:
    if copy is not None:
        ui.image(copy).props('alt="Training picture" fit=contain').classes(
            "porcelain-picture w-full h-28 mb-2"
        )
    labels = [names.label(task, one["labels"][task]) for task in TASKS if task in one["labels"]]
    for label in labels or ["no known label"]:
        ui.label(label).classes("text-sm")
    if one["synthetic"]:
        ui.label("Synthetic").classes("porcelain-unsure w-fit")
    told = [one.get("object_id") or one["file_name"], one.get("credit_line") or one.get("source")]
    told += [one.get("license"), f"likeness {one['similarity']:.2f}"]
    ui.label(" · ".join(part for part in told if part)).classes("porcelain-quiet text-xs mt-1")
