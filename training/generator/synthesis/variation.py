"""Variations: photographs of a kind, noised and painted anew, in place of pictures from nothing.

Their labels hold by what they begin at, not by the prompt alone (SDEdit: Meng et al., arXiv
2108.01073). The more is noised, the more is new, and the less the labels are sure.
"""

from __future__ import annotations

from dataclasses import dataclass

from porcelain.dataset import Dataset
from porcelain.errors import UserError
from porcelain.preparation import Pixels, load_and_prepare
from training.data.allotment import Kind
from training.generator.synthesis.kinds import describe, kind_of, shows
from training.generator.synthesis.plan import Plan


@dataclass(frozen=True)
class Originals:
    """The training photographs that variations begin at.

    Attributes:
        photographs: The training part.
        strength: Share of the noise, above 0 to 1.
        side: Of the pictures in pixels.
        names: Per kind, the photographs that show all its labels, in file order.
    """

    photographs: Dataset
    strength: float
    side: int
    names: dict[Kind, tuple[str, ...]]

    def of(self, kind: Kind, attempt: int) -> str:
        """The photograph that an attempt begins at: all of a kind in turns."""
        names = self.names[kind]
        return names[attempt % len(names)]

    def read(self, name: str) -> Pixels:
        """A photograph as the generator has seen it, RGB [side, side, 3].

        Raises:
            ImageError: It cannot be read.
        """
        return load_and_prepare(self.photographs.root / name, self.side, "letterbox")


def find_originals(
    photographs: Dataset, plan: Plan, strength: float, size: tuple[int, int]
) -> Originals:
    """What each kind of a plan can begin at.

    Args:
        photographs: The training part.
        plan: What is wanted.
        strength: Share of the noise.
        size: Width and height of the pictures.

    Raises:
        UserError: Pictures that are not square, or a kind of which there is no photograph.
    """
    if size[0] != size[1]:
        raise UserError(
            f"--vary makes square pictures, as the generator has seen them, not {size[0]} x "
            f"{size[1]}."
        )
    names = {
        planned.kind: tuple(
            record.file_name
            for record in photographs.records
            if shows(kind_of(record.labels), planned.kind)
        )
        for planned in plan.kinds
    }
    for kind, found in names.items():
        if not found:
            raise UserError(f"No training photograph shows {describe(kind)}: nothing to vary.")
    return Originals(photographs, strength, size[0], names)
