"""The tab that asks the generator for pictures of a kind."""

from __future__ import annotations

import base64
from typing import Any

from nicegui import ui

from porcelain.errors import PorcelainError
from porcelain.vocabulary import TASKS
from services.studio.client import GeneratorClient
from services.studio.combinations import judge
from services.studio.folders import Entry, dataset_zip
from services.studio.names import Names, task_name


class GenerateTab:
    """One visitor's wish and the pictures that answer it."""

    def __init__(self, client: GeneratorClient) -> None:
        self._client = client
        self._model: dict[str, Any] = {}
        self._answer: dict[str, Any] = {}

    def build(self) -> None:
        """Lay the tab out; the form appears when the service has said what it can make."""
        self._form = ui.column().classes("porcelain-card w-full gap-3")
        self._pictures = ui.column().classes("w-full gap-3 mt-4")
        ui.timer(0.1, self._load, once=True)

    async def _load(self) -> None:
        try:
            self._model = await self._client.model()
        except PorcelainError as error:
            self._form.clear()
            with self._form:
                ui.label(str(error)).classes("porcelain-error w-full").props("role=alert")
                ui.button("Try again", icon="refresh", on_click=self._load).props("flat no-caps")
            return
        self._form.clear()
        with self._form:
            self._build_form()

    def _build_form(self) -> None:
        names = Names.of(self._model)
        self._choices = {}
        with ui.element("div").classes("grid grid-cols-1 sm:grid-cols-2 gap-3 w-full"):
            for task in TASKS:
                options = {"": "any"} | {
                    label: names.label(task, label) for label in self._model["labels"].get(task, [])
                }
                self._choices[task] = ui.select(
                    options, value="", label=task_name(task), on_change=self._judge
                ).classes("w-full")
        with ui.row().classes("items-center gap-4"):
            most = self._model["limits"]["max_count"]
            self._count = ui.number("How many", value=1, min=1, max=most, precision=0).classes(
                "w-32"
            )
            self._seed = ui.number("Seed (blank: any)", min=0, precision=0).classes("w-40")
        self._verdict = ui.label().classes("w-full").props("role=status").mark("verdict")
        self._consent = ui.checkbox(
            "Make it all the same", on_change=lambda: self._judge(keep=True)
        ).mark("consent")
        self._button = ui.button("Generate", icon="brush", on_click=self._generate).props("no-caps")
        self._judge()

    def _judge(self, *_: object, keep: bool = False) -> None:
        wanted = {task: choice.value for task, choice in self._choices.items()}
        verdict = judge(wanted, self._model["combinations"], Names.of(self._model))
        self._verdict.set_text(verdict.sentence)
        self._verdict.classes(
            replace="w-full "
            + ("porcelain-warning" if verdict.needs_consent else "porcelain-quiet")
        )
        if not keep:
            self._consent.set_value(False)
        self._consent.set_visibility(verdict.needs_consent)
        self._button.set_enabled(not verdict.needs_consent or bool(self._consent.value))

    async def _generate(self) -> None:
        wish: dict[str, object] = {
            task: choice.value for task, choice in self._choices.items() if choice.value
        }
        wish["count"] = int(self._count.value or 1)
        if self._seed.value is not None:
            wish["seed"] = int(self._seed.value)
        if self._consent.visible and self._consent.value:
            wish["allow_unseen"] = True
        self._button.props("loading")
        self._pictures.clear()
        try:
            self._answer = await self._client.generate(wish)
        except PorcelainError as error:
            with self._pictures:
                ui.label(str(error)).classes("porcelain-error w-full").props("role=alert")
            return
        finally:
            self._button.props(remove="loading")
        with self._pictures:
            self._show()

    def _show(self) -> None:
        ui.label(
            "Synthetic: made by a model, and marked so in every file. They are no evidence."
        ).classes("porcelain-warning w-full")
        with ui.element("div").classes("grid grid-cols-2 sm:grid-cols-4 gap-4 w-full"):
            for image in self._answer["images"]:
                with ui.column().classes("gap-1"):
                    ui.image(f"data:{image['media_type']};base64,{image['data']}").classes(
                        "porcelain-picture w-full"
                    ).props('alt="Synthetic picture"').mark("generated")
                    ui.label(f"Synthetic · seed {image['seed']}").classes("porcelain-quiet")
        ui.button("Download as dataset folder", icon="download", on_click=self._download).props(
            "outline no-caps"
        )

    def _download(self) -> None:
        ui.download.content(
            dataset_zip(synthetic_entries(self._answer)), "synthetic.zip", "application/zip"
        )


def synthetic_entries(answer: dict[str, Any]) -> list[Entry]:
    """The pictures of an answer of `/v1/generate`, byte for byte, as synthetic rows."""
    return [
        Entry(
            base64.b64decode(image["data"]),
            image["labels"],
            synthetic=True,
            extra={
                "prompt": str(image["prompt"]),
                "seed": str(image["seed"]),
                "generator": str(answer["model"]["digest"]),
            },
        )
        for image in answer["images"]
    ]
