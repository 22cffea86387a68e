"""Rendered vessels that members learn from beside photographs, in training and nowhere else.

Rendered pictures teach rare kinds that have a handful of photographs. Each member that sees them
has a draw of its own, allotted by rarity as in `porcelain data mix`. Labels of all candidates are
known before anything is rendered, so that only what some member draws is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from porcelain.dataset import Dataset, Record, load_dataset
from porcelain.errors import DatasetError, UserError
from porcelain.vocabulary import TASKS
from training.classifier.settings import TrainSettings
from training.data.allotment import allot, draw, group_by_kind
from training.data.mix import check_labels
from training.data.ratio import Ratio, Rule

if TYPE_CHECKING:
    from training.data.rendering.render import World

FOLDER: Final = "rendered"
SOURCE: Final = "rendered"
"""What the column `source` says of a rendered picture."""

CANDIDATES: Final = 8
"""Candidates per picture wanted, so that rare kinds are among them often enough."""

MOST: Final = Fraction(1, 2)
"""More of the photographs than this must have labels that the renderer knows."""


@dataclass(frozen=True)
class RenderedPool:
    """Rendered vessels to draw from.

    Attributes:
        root: The folder of their pictures; those of `world` appear there when they are rendered.
        records: All candidates, with their labels.
        share: Of what a member sees, from 0 to 1.
        blank: Tasks whose labels are left out.
        world: What renders the candidates; None where the folder was given.
    """

    root: Path
    records: tuple[Record, ...]
    share: float
    blank: tuple[str, ...]
    world: World | None

    def identity(self) -> dict[str, Any]:
        """What decides the pictures, JSON-ready, so that other work is not continued."""
        if self.world is None:
            digest = Dataset(self.root, self.records).digest()
            return {"digest": digest, "share": self.share}
        return {"seed": self.world.seed, "candidates": len(self.records), "share": self.share}

    def draw(self, photographs: Sequence[Record], seed: int) -> list[Record]:
        """One member's pictures, the rarest labels the most often.

        Args:
            photographs: What the member learns from beside them.
            seed: Of the draw.
        """
        real = Dataset(self.root, tuple(photographs))
        share = Fraction(self.share).limit_denominator(10_000)
        wanted = Ratio(1 - share, share).synthetic_count(len(photographs))
        available = {kind: len(some) for kind, some in group_by_kind(self.records, TASKS).items()}
        taken = allot(
            min(wanted, len(self.records)),
            Rule.RARITY,
            available,
            [real.counts(task) for task in TASKS],
        )
        return [self._labelled(record) for record in draw(self.records, TASKS, taken, seed)]

    def render(
        self, records: Sequence[Record], on_progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Render those of the pictures that are not there yet; an interrupted run is continued.

        Args:
            records: Which are needed.
            on_progress: Called with pictures done and in all.

        Raises:
            UserError: Rendering does not work on this machine.
        """
        if self.world is None:
            return
        from training.data.rendering.render import render_pictures

        names = {record.file_name for record in records}
        indices = [i for i, record in enumerate(self.records) if record.file_name in names]
        (self.root / "images").mkdir(parents=True, exist_ok=True)
        try:
            render_pictures(self.root, self.world, indices, on_progress=on_progress)
        except (ImportError, OSError, RuntimeError) as error:
            raise UserError(
                f"Vessels cannot be rendered here ({error}); `porcelain data render` needs the "
                "same. Give --rendered none, or a folder of rendered pictures."
            ) from error

    def _labelled(self, record: Record) -> Record:
        return replace(record, labels=record.labels | dict.fromkeys(self.blank))


def find_rendered(
    dataset: Dataset,
    train: Dataset,
    settings: TrainSettings,
    work: Path,
    say: Callable[[str], None],
) -> RenderedPool | None:
    """What `settings.rendered` asks for; None where members learn from photographs alone.

    Args:
        dataset: The whole collection.
        train: Its training part.
        settings: How to train.
        work: Where rendered pictures are to be kept.
        say: Hears why `auto` renders nothing.

    Raises:
        UserError: What is asked for explicitly is not possible.
        DatasetError: The folder given is not one of rendered pictures.
    """
    if settings.rendered == "none":
        return None
    blank = tuple(task for task in settings.rendered_blank if task in TASKS)
    if (folder := settings.rendered_folder()) is not None:
        pool = _given(folder, dataset)
        return RenderedPool(folder, pool, settings.share_of_rendered(), blank, None)
    obstacle = _obstacle(train)
    if obstacle is not None and settings.rendered == "auto":
        say(f"No rendered vessels: {obstacle}.")
        return None
    if obstacle is not None:
        raise UserError(f"--rendered {settings.rendered}: {obstacle}.")
    from training.data.rendering.render import World, plan_shot

    share = settings.share_of_rendered()
    known = {task: frozenset(train.classes(task)) for task in TASKS}
    world = World(settings.seed, settings.cached_size, None, known)
    count = max(1, round(CANDIDATES * len(dataset) * share / (1 - share)))
    shots = [plan_shot(world, index) for index in range(count)]
    records = tuple(
        Record(shot.file_name, {task: getattr(shot, task) or None for task in TASKS})
        for shot in shots
    )
    return RenderedPool(work / FOLDER, records, share, blank, world)


def _given(folder: Path, dataset: Dataset) -> tuple[Record, ...]:
    """The pictures of a folder that was rendered before.

    Raises:
        DatasetError: Some are not declared to be rendered or synthetic, or have labels that no
            photograph has.
    """
    given = load_dataset(folder)
    for record in given.records:
        if not record.synthetic and not _is_rendered(record):
            raise DatasetError(
                f"--rendered {folder}: {record.file_name} is not declared to be rendered (source "
                f"{SOURCE}) or synthetic; photographs belong into --data."
            )
    check_labels(dataset, given)
    return given.records


def _is_rendered(record: Record) -> bool:
    return record.extra.get("source") == SOURCE


def _obstacle(train: Dataset) -> str | None:
    """Why there is nothing to render for a collection; None where there is."""
    if any(_is_rendered(record) for record in train.records):
        return "the collection has rendered pictures itself"
    if any(record.synthetic for record in train.records):
        return "the training part has synthetic pictures already"
    if find_spec("vtkmodules") is None:
        return "the renderer is not installed (pip install 'porcelain[render]')"
    from training.data.rendering.history import has_ware, vocabulary

    known = vocabulary()
    named = sum(
        all(label is None or label in known[task] for task, label in record.labels.items())
        for record in train.records
    )
    if named <= MOST * len(train) or not has_ware(
        {task: frozenset(train.classes(task)) for task in TASKS}
    ):
        return (
            f"the renderer knows the labels of {named} of the {len(train)} training photographs; "
            "it takes more than half"
        )
    return None
