"""The tab that goes through doubtful pictures and corrects their labels by keyboard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from nicegui import events, run, ui

from porcelain.errors import PorcelainError
from porcelain.vocabulary import TASKS
from services.studio.classify_tab import show_error, show_warnings
from services.studio.client import ClassifierClient
from services.studio.folders import dataset_zip, save_dataset
from services.studio.names import Names, task_name
from services.studio.queue import Item, ReviewQueue
from services.studio.settings import StudioSettings
from services.studio.uploads import Room, picture_upload, thumbnail

KEYS = (
    ("↑ ↓", "question"),
    ("← →", "label"),
    ("1–9", "label by number"),
    ("u", "unknown"),
    ("Enter", "confirm, next"),
    ("⌫", "back"),
)
LISTED = 5  # candidates shown per task


class ReviewTab:
    """One visitor's review."""

    def __init__(self, client: ClassifierClient, settings: StudioSettings) -> None:
        self._client = client
        self._settings = settings
        self._room = Room(settings)
        self._queue = ReviewQueue()
        self._names = Names()

    def build(self, is_open: Callable[[], bool]) -> None:
        """Lay the tab out.

        Args:
            is_open: Whether the tab is in front; keys are for it only then.
        """

        async def pressed(event: events.KeyEventArguments) -> None:
            modified = event.modifiers.ctrl or event.modifiers.alt or event.modifiers.meta
            if (
                event.action.keydown
                and is_open()
                and not modified
                and self._queue.press(str(event.key.name))
            ):
                await self._refresh()

        ui.keyboard(on_key=pressed)
        with ui.column().classes("w-full gap-4"):
            picture_upload(self._room, "Drop the photographs to review here", self._add)
            ui.label(
                "The least certain and most different come first. Confirmed pictures become a "
                "dataset folder to train on."
            ).classes("porcelain-quiet")
            self._errors = ui.column().classes("w-full gap-2")
            self._panel = ui.element("section").classes("w-full porcelain-panel")
            self._panel.props("tabindex=-1 aria-label=Review")

    async def _add(self, name: str, data: bytes) -> None:
        try:
            answer = await self._client.classify(data)
            self._names = Names.of(await self._client.described())
        except PorcelainError as error:
            with self._errors:
                show_error(name, str(error))
            return
        first = not self._queue.items
        self._queue.add(Item(name, data, answer))
        self._queue.sort()
        await self._refresh()
        if first:
            # Else the keys would go to the button that the pictures were chosen with.
            ui.run_javascript(f"getHtmlElement({self._panel.id}).focus({{preventScroll: true}})")

    async def _refresh(self) -> None:
        queue = self._queue
        item = queue.current
        picture = await run.io_bound(thumbnail, item.data) if item is not None else ""
        self._panel.clear()
        with self._panel, ui.column().classes("porcelain-card w-full gap-4"):
            with ui.row().classes("w-full items-center justify-between"):
                ui.label(f"{len(queue.done)} of {len(queue.items)} confirmed").props("role=status")
                with ui.row().classes("gap-2"):
                    ui.button(
                        "Download as dataset folder", icon="download", on_click=self._download
                    ).props("outline no-caps").set_enabled(bool(queue.done))
                    if self._settings.review_folder is not None:
                        ui.button("Save", icon="save", on_click=self._save).props(
                            "outline no-caps"
                        ).set_enabled(bool(queue.done))
            if item is None:
                ui.label("All pictures are confirmed.").classes("porcelain-quiet")
                self._show_back()
            else:
                self._show(item, str(picture))

    def _show(self, item: Item, picture: str) -> None:
        with ui.element("div").classes("grid grid-cols-1 sm:grid-cols-2 gap-5 w-full"):
            with ui.column().classes("gap-2"):
                ui.image(picture).props('fit=contain alt="Picture under review"').classes(
                    "porcelain-picture w-full max-h-96"
                )
                ui.label(item.name).classes("porcelain-quiet break-all")
                show_warnings(item.answer, self._names)
            with ui.column().classes("gap-4 w-full"):
                for task in TASKS:
                    self._show_task(item, task)
        with ui.row().classes("gap-2"):
            confirm = partial(self._press, "Enter")
            ui.button("Confirm and next", icon="check", on_click=confirm).props("no-caps")
            if self._queue.place:
                self._show_back()
        with ui.row().classes("gap-3 porcelain-quiet porcelain-keys"):
            for key, meaning in KEYS:
                with ui.row().classes("gap-1 items-center"):
                    ui.label(key).classes("porcelain-key")
                    ui.label(meaning)

    def _show_back(self) -> None:
        back = partial(self._press, "Backspace")
        ui.button("Back", icon="arrow_back", on_click=back).props("flat no-caps")

    def _show_task(self, item: Item, task: str) -> None:
        active = task == self._queue.task
        chosen = item.labels[task]
        with ui.column().classes("gap-1 w-full"):
            title = ui.label(("▸ " if active else "") + task_name(task))
            title.classes("font-medium" if active else "porcelain-quiet")
            with ui.row().classes("gap-1"):
                candidates = item.candidates(task)
                shown = candidates[:LISTED]
                if chosen not in shown and chosen is not None:
                    shown.append(chosen)
                for label in [one for one in shown if one is not None] + [None]:
                    name = "unknown" if label is None else self._names.label(task, label)
                    kind = "unelevated" if label == chosen else "outline"
                    button = ui.button(
                        on_click=partial(self._choose, item, task, label),
                    ).props(f"{kind} dense no-caps")
                    with button.classes("px-2 porcelain-choice"):
                        key = _key(candidates, label)
                        if active and len(key) == 1:  # keys are of the question in turn
                            ui.label(key).classes("porcelain-number")
                        ui.label(name)
                others = self._names.others(task, shown)
                if others:
                    ui.select(
                        others,
                        label="another",
                        with_input=True,
                        on_change=lambda event: self._choose(item, task, event.value),
                    ).props(f'dense options-dense aria-label="Another {task}"').classes(
                        "porcelain-another"
                    )

    async def _choose(self, item: Item, task: str, label: str | None) -> None:
        item.labels[task] = label
        self._queue.task = task
        await self._refresh()

    async def _press(self, key: str) -> None:
        self._queue.press(key)
        await self._refresh()

    def _download(self) -> None:
        entries = [item.entry() for item in self._queue.done]
        ui.download.content(dataset_zip(entries), "reviewed.zip", "application/zip")

    async def _save(self) -> None:
        folder = self._settings.review_folder
        if folder is None:
            return
        entries = [item.entry() for item in self._queue.done]
        try:
            saved = await run.io_bound(save_dataset, folder, entries)
        except PorcelainError as error:
            ui.notify(str(error), type="negative")
            return
        ui.notify(f"Saved as {saved}", type="positive")


def _key(candidates: Sequence[str | None], label: str | None) -> str:
    """The key that chooses a label; longer than one character, or empty, where none does."""
    if label is None:
        return "u"
    return str(candidates.index(label) + 1) if label in candidates else ""
