"""The tab that answers what photographs show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from nicegui import events, run, ui

from porcelain.errors import PorcelainError
from services.studio.client import ClassifierClient
from services.studio.names import Names, task_name
from services.studio.settings import StudioSettings
from services.studio.similar import show_similar, training_copies
from services.studio.table import answers_csv
from services.studio.training_pictures import TrainingPictures
from services.studio.uploads import Room, picture_upload, thumbnail

SHOWN = 3  # candidates per task
SIMILAR = 5  # training pictures per picture


class ClassifyTab:
    """One visitor's pictures and their answers."""

    def __init__(
        self, client: ClassifierClient, settings: StudioSettings, training: TrainingPictures
    ) -> None:
        self._client = client
        self._training = training
        self._names = Names()
        self._room = Room(settings)
        self._answers: list[tuple[str, dict[str, Any] | str]] = []

    def build(self) -> None:
        """Lay the tab out."""
        with ui.column().classes("w-full gap-4"):
            self._upload = picture_upload(self._room, "Drop photographs here", self._classify)
            with ui.row().classes("gap-2") as self._actions:
                ui.button("Download as CSV", icon="download", on_click=self._download).props(
                    "outline no-caps"
                )
                ui.button("Clear", icon="delete_outline", on_click=self._clear).props(
                    "flat no-caps"
                )
            self._actions.set_visibility(False)
            self._list = ui.column().classes("w-full gap-4")

    async def _classify(self, name: str, data: bytes) -> None:
        with self._list, ui.element("section").classes("porcelain-card w-full") as card:
            ui.label(f"Looking at {name} …").classes("porcelain-quiet")
        self._actions.set_visibility(True)
        try:
            answer = await self._client.classify(data, similar=SIMILAR)
            model = await self._client.described()
            self._names = Names.of(model)
            picture = await run.io_bound(thumbnail, data)
        except PorcelainError as error:
            card.clear()
            with card:
                show_error(name, str(error))
            self._answers.append((name, str(error)))
            return
        similar = answer.get("similar") or []
        copies = await run.io_bound(training_copies, similar, self._training)
        place = len(self._answers)
        self._answers.append((name, answer))

        def answered(answer: dict[str, Any]) -> None:
            self._answers[place] = (name, answer)

        card.clear()
        with card:
            PictureCard(self._client, self._names, name, data, model, answered).build(
                str(picture), answer
            )
            for note in abstention_notes(model):
                ui.label(note).classes("porcelain-quiet")
            if similar:
                show_similar(similar, list(copies or []), self._names)

    def _download(self) -> None:
        ui.download.content(answers_csv(self._answers, self._names), "porcelain.csv", "text/csv")

    def _clear(self) -> None:
        self._answers.clear()
        self._room.clear()
        self._list.clear()
        self._upload.reset()
        self._actions.set_visibility(False)


class PictureCard:
    """One picture with its answers, which move when something is known of the piece."""

    def __init__(
        self,
        client: ClassifierClient,
        names: Names,
        name: str,
        data: bytes,
        model: Mapping[str, Any],
        answered: Callable[[dict[str, Any]], None],
    ) -> None:
        """Prepare it.

        Args:
            client: What answers.
            names: What labels are called.
            name: The picture's name.
            data: Its file.
            model: What the service says of its model.
            answered: Hears every further answer.
        """
        self._client = client
        self._names = names
        self._name = name
        self._data = data
        self._model = model
        self._answered = answered
        self._known: dict[str, str] = {}

    def build(self, picture: str, answer: dict[str, Any]) -> None:
        """Lay the card out.

        Args:
            picture: What is shown of it, as an address.
            answer: What the picture alone says.
        """
        with ui.element("div").classes("grid grid-cols-1 sm:grid-cols-3 gap-5 w-full"):
            with ui.column().classes("gap-2"):
                ui.image(picture).props(f'alt="{_attribute(self._name)}" fit=contain').classes(
                    "porcelain-picture w-full max-h-80"
                )
                ui.label(self._name).classes("porcelain-quiet break-all")
                if self._model.get("known"):
                    self._ask_what_is_known(list(answer["predictions"]))
            self._answers = ui.column().classes("sm:col-span-2 gap-3 w-full")
            self._show(answer)
        self._offer_heat_maps()

    def _ask_what_is_known(self, tasks: list[str]) -> None:
        ui.label("What is known of it already?").classes("mt-2")
        with ui.element("div").classes("grid grid-cols-2 gap-2 w-full"):
            for task in tasks:
                labels = self._model["labels"][task]
                ui.select(
                    {label: self._names.label(task, label) for label in labels},
                    label=task_name(task),
                    with_input=True,
                    clearable=True,
                    on_change=partial(self._learn, task),
                ).props(f'dense options-dense aria-label="Known {task}"').classes("w-full")

    async def _learn(self, task: str, event: events.ValueChangeEventArguments[str | None]) -> None:
        """Ask again with what is known now."""
        self._known.pop(task, None)
        if event.value is not None:
            self._known[task] = str(event.value)
        asked = dict(self._known)
        self._answers.classes(add="opacity-50")
        try:
            answer = await self._client.classify(self._data, known=asked)
        except PorcelainError as error:
            ui.notify(str(error), type="negative")
            return
        finally:
            if asked == self._known:
                self._answers.classes(remove="opacity-50")
        if asked == self._known:  # else a later choice has been made since
            self._answered(answer)
            self._show(answer)

    def _show(self, answer: dict[str, Any]) -> None:
        self._answers.clear()
        with self._answers:
            show_warnings(answer, self._names)
            with ui.element("div").classes("grid grid-cols-1 sm:grid-cols-2 gap-5 w-full"):
                for task, prediction in answer["predictions"].items():
                    _show_task(task, prediction, self._names)

    def _offer_heat_maps(self) -> None:
        maps = ui.element("div").classes("grid grid-cols-2 sm:grid-cols-4 gap-3 w-full mt-3")

        async def explain() -> None:
            button.props("loading")
            try:
                explained = await self._client.classify(self._data, explain=True, top_k=1)
            except PorcelainError as error:
                button.props(remove="loading")
                ui.notify(str(error), type="negative")
                return
            button.set_visibility(False)
            with maps:
                ui.label(
                    "The brighter a place, the less sure the model is of its answer without it."
                ).classes("col-span-full porcelain-quiet")
                for task, uri in explained["explanation"].items():
                    with ui.column().classes("gap-1"):
                        ui.image(uri).classes("porcelain-picture w-full").props(
                            f'alt="Where the model looked for {task}"'
                        ).mark("heat-map")
                        ui.label(task_name(task)).classes("porcelain-quiet")

        button = (
            ui.button("Show where it looked", icon="visibility", on_click=explain)
            .props("flat no-caps dense")
            .classes("mt-2")
        )


def show_error(name: str, sentence: str) -> None:
    """A picture that could not be answered."""
    with ui.column().classes("porcelain-error w-full gap-0").props("role=alert"):
        ui.label(name).classes("font-medium break-all")
        ui.label(sentence)


def show_warnings(answer: dict[str, Any], names: Names) -> None:
    """What is to be known before the answer is relied on."""
    domain = answer.get("in_domain")
    if domain is not None and not domain["value"]:
        ui.label(
            "Unlike the pictures that the model learned from: this may be no porcelain. Do not "
            "rely on the answer."
        ).classes("porcelain-warning w-full").props("role=alert")
    unusual = answer.get("unusual_combination")
    if unusual is not None:
        labels = unusual["labels"].items()
        pair = " and ".join(f"{task_name(task)} {names.label(task, one)}" for task, one in labels)
        ui.label(
            f"{pair} never occurred together in training. Such answers often hold an error: look "
            "at both again."
        ).classes("porcelain-warning w-full").props("role=alert")
    for warning in answer.get("warnings") or []:
        ui.label(warning).classes("porcelain-warning w-full").props("role=alert")


def abstention_notes(model: Mapping[str, Any]) -> list[str]:
    """What an answer that is not marked "not sure" is worth, in sentences.

    Args:
        model: What the service says of its model.
    """
    caveats = model.get("abstention_caveats") or {}
    confidence = model.get("selective_confidence")
    notes = []
    proved = [task_name(task) for task in model.get("labels") or {} if task not in caveats]
    if confidence is not None and proved:
        notes.append(
            f"Not marked “not sure”: at least {model['selective_accuracy']:.0%} of such answers "
            f"are right ({', '.join(proved)}; shown on validation pictures with {confidence:.0%} "
            "confidence)."
        )
    for caveat in dict.fromkeys(caveats.values()):
        tasks = ", ".join(task_name(task) for task in caveats if caveats[task] == caveat)
        notes.append(f"{tasks}: no accuracy is guaranteed. {caveat}")
    return notes


def _show_task(task: str, prediction: dict[str, Any], names: Names) -> None:
    known = prediction.get("known")
    with ui.column().classes("gap-1 w-full"):
        with ui.row().classes("items-center gap-2"):
            ui.label(task_name(task)).classes("porcelain-quiet")
            if known:
                ui.label("known").classes("porcelain-known")
            if prediction.get("none_of_these"):
                ui.label("perhaps none that the model knows").classes("porcelain-unsure")
            elif prediction["abstained"]:
                ui.label("not sure").classes("porcelain-unsure")
        if known:
            ui.label(names.label(task, prediction["label"])).classes("font-medium")
            if prediction["conflict"]:
                _show_conflict(task, prediction, names)
            ui.label("The picture alone says:").classes("porcelain-quiet")
        for place, one in enumerate(prediction["top"][:SHOWN]):
            first = place == 0 and not known
            with ui.row().classes("w-full justify-between no-wrap"):
                ui.label(names.label(task, one["label"])).classes("font-medium" if first else "")
                ui.label(percent(one["probability"]))
            look = "doubtful" if prediction["abstained"] else ""
            with ui.element("div").classes(f"porcelain-bar w-full {look if first else 'faint'}"):
                ui.element("div").style(f"width: {100 * one['probability']:.1f}%")


def _show_conflict(task: str, prediction: dict[str, Any], names: Names) -> None:
    best = prediction["top"][0]
    ui.label(
        f"The picture speaks against it: {percent(prediction['model_probability'])}, where "
        f"{names.label(task, best['label'])} has {percent(best['probability'])}. Is what is known "
        "right, and is it the right picture?"
    ).classes("porcelain-warning").props("role=alert")


def percent(probability: float) -> str:
    """For people: no model is certain, so that neither 0 nor 100 % is said."""
    if probability < 0.005:
        return "< 1 %"
    return "> 99 %" if probability > 0.995 else f"{100 * probability:.0f} %"


def _attribute(text: str) -> str:
    return text.replace("\\", "").replace('"', "'")
