"""Variations: pictures of a kind, noised and painted anew, in place of pictures from nothing.

Their labels hold by what they begin at, not by the prompt alone (SDEdit: Meng et al., arXiv
2108.01073). The more is noised, the more is new, and the less the labels are sure. They begin at
training photographs, or at pictures of another folder: rendered ones give forms that a collection
hardly has, and the generator, which has learned from its photographs, gives them their look.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from porcelain.dataset import Dataset, load_dataset
from porcelain.errors import UserError
from porcelain.preparation import Pixels, load_and_prepare
from training.data.allotment import Kind
from training.generator.synthesis.kinds import describe, kind_of, labels_of, shows
from training.generator.synthesis.plan import Plan
from training.generator.synthesis.settings import SynthesisSettings
from training.generator.synthesis.sources import Sources

FORM: Final = "type"


@dataclass(frozen=True)
class Originals:
    """The pictures that variations begin at.

    Attributes:
        pictures: The training part, or another folder.
        strength: Share of the noise, above 0 to 1.
        side: Of the pictures in pixels.
        names: Per kind, the pictures to begin at, in file order.
        photographed: Whether they are the collection's own.
    """

    pictures: Dataset
    strength: float
    side: int
    names: dict[Kind, tuple[str, ...]]
    photographed: bool

    def of(self, kind: Kind, attempt: int) -> str:
        """The picture that an attempt begins at: all of a kind in turns."""
        names = self.names[kind]
        return names[attempt % len(names)]

    def read(self, name: str) -> Pixels:
        """A picture as the generator has seen photographs, RGB [side, side, 3].

        Raises:
            ImageError: It cannot be read.
        """
        return load_and_prepare(self.pictures.root / name, self.side, "letterbox")


def open_originals(
    sources: Sources, plan: Plan, settings: SynthesisSettings, folder: Path | None
) -> Originals | None:
    """What each kind of a plan begins at; None where pictures begin at noise.

    Photographs must show all of a kind's labels. Of another folder those that show its form are
    taken, and among them those that share the most of its other labels: a form outlasts the
    noise, and glaze and decoration follow the prompt.

    Args:
        sources: With the photographs.
        plan: What is wanted.
        settings: Resolved.
        folder: Dataset folder to begin at in place of the training photographs.

    Raises:
        UserError: A folder without a strength, pictures that are not square, or a kind that has
            nothing to begin at.
        DatasetError: Not a dataset folder.
    """
    if settings.variation is None:
        if folder is not None:
            raise UserError("--vary-from says what to vary; say with --vary by how much.")
        return None
    pictures = sources.training if folder is None else load_dataset(folder)
    width, height = settings.sampling.width, settings.sampling.height
    if width != height:
        raise UserError(
            f"--vary makes square pictures, as the generator has seen them, not {width} x {height}."
        )
    find = _that_show if folder is None else _nearest
    names = {planned.kind: find(pictures, planned.kind) for planned in plan.kinds}
    for kind, found in names.items():
        if not found:
            place = "training photograph" if folder is None else f"picture in {folder}"
            wanted = describe(kind) if folder is None else labels_of(kind).get(FORM, describe(kind))
            raise UserError(f"No {place} shows {wanted}: nothing to vary.")
    return Originals(pictures, settings.variation, width, names, photographed=folder is None)


def _that_show(pictures: Dataset, kind: Kind) -> tuple[str, ...]:
    return tuple(r.file_name for r in pictures.records if shows(kind_of(r.labels), kind))


def _nearest(pictures: Dataset, kind: Kind) -> tuple[str, ...]:
    wanted = labels_of(kind)
    form = wanted.get(FORM)
    shared = {
        record.file_name: sum(record.labels[task] == label for task, label in wanted.items())
        for record in pictures.records
        if form is None or record.labels[FORM] == form
    }
    most = max(shared.values(), default=0)
    return tuple(name for name, count in shared.items() if count == most > 0)
