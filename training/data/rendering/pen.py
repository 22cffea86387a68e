"""A brush for ornament: draws in the units of one motif, on a layer that wraps around a vessel."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Palette = dict[str, tuple[int, int, int, int]]
Points = Sequence[tuple[float, float]] | NDArray[np.float64]
Motif = Callable[["Pen", Generator], None]


class Pen:
    """Draws one motif's cell, `aspect` wide and 1 high, y up.

    A colour is named by its role ("line", "petal", "leaf", "accent", "stem", "wash", "ground"), so
    that one drawing serves cobalt, enamels, iron brown and carving alike.
    """

    def __init__(self, width: int, height: int, aspect: float, palette: Palette) -> None:
        self.aspect = aspect
        self.palette = palette
        self.image = Image.new("RGBA", (max(width, 2), max(height, 2)), (*palette["line"][:3], 0))
        self._draw = ImageDraw.Draw(self.image)
        self._scale = (width / aspect, float(height))

    def _map(self, points: Points) -> list[tuple[float, float]]:
        array = np.asarray(points, np.float64)
        x = array[:, 0] * self._scale[0]
        y = (1 - array[:, 1]) * self._scale[1]
        return list(zip(x.tolist(), y.tolist(), strict=True))

    def line(self, points: Points, width: float = 0.02, role: str = "line") -> None:
        """A stroke; `width` in cell heights."""
        pixels = max(1, round(width * min(self._scale)))
        self._draw.line(self._map(points), fill=self.palette[role], width=pixels, joint="curve")

    def fill(self, points: Points, role: str, outline: float = 0.016) -> None:
        """A filled outline, with a drawn contour unless `outline` is 0."""
        mapped = self._map(points)
        self._draw.polygon(mapped, fill=self.palette[role])
        if outline:
            pixels = max(1, round(outline * min(self._scale)))
            self._draw.line([*mapped, mapped[0]], fill=self.palette["line"], width=pixels)

    def disc(self, x: float, y: float, radius: float, role: str, outline: float = 0.0) -> None:
        """A round dot."""
        angle = np.linspace(0, 2 * np.pi, 25)
        points = np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], 1)
        self.fill(points, role, outline)

    def petal(
        self, x: float, y: float, angle: float, length: float, width: float, role: str = "petal"
    ) -> None:
        """A pointed oval that starts at (x, y) and grows along `angle`."""
        t = np.linspace(0, 1, 9)
        half = width * np.sin(np.pi * t**0.8) * 0.5
        along = np.concatenate([t, t[::-1]]) * length
        across = np.concatenate([half, -half[::-1]])
        cos, sin = np.cos(angle), np.sin(angle)
        points = np.stack([x + along * cos - across * sin, y + along * sin + across * cos], 1)
        self.fill(points, role, 0.012)

    def spiral(
        self, x: float, y: float, angle: float, size: float, turns: float, role: str, width: float
    ) -> None:
        """A tendril that leaves (x, y) along `angle` and curls."""
        t = np.linspace(0, 1, 16)
        heading = angle + np.sign(turns) * (t**1.5) * abs(turns) * 2 * np.pi
        step = size * (1.15 - t) / 10
        points = np.stack([x + np.cumsum(step * np.cos(heading)),
                           y + np.cumsum(step * np.sin(heading))], 1)  # fmt: skip
        self.line(points, width, role)


def wave(
    x: NDArray[np.float64], phase: float, periods: float, height: float
) -> NDArray[np.float64]:
    """A sine of `periods` over the cell, used for vines and dragons."""
    curve: NDArray[np.float64] = height * np.sin(phase + 2 * np.pi * periods * x)
    return curve
