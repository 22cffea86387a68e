"""Narrow repeating borders: lappets, cloud collars, meanders, waves."""

import numpy as np
from numpy.random import Generator

from training.data.rendering.pen import Motif, Pen, wave


def lappets(pen: Pen, rng: Generator) -> None:
    """Upright panels around a foot or a shoulder."""
    a = pen.aspect
    pen.fill(
        [(0.06 * a, 0), (0.06 * a, 0.7), (0.5 * a, 0.97), (0.94 * a, 0.7), (0.94 * a, 0)],
        "wash",
        0.05,
    )
    pen.fill([(0.26 * a, 0), (0.26 * a, 0.55), (0.5 * a, 0.75), (0.74 * a, 0.55), (0.74 * a, 0)],
             "petal", 0.03)  # fmt: skip


def ruyi(pen: Pen, rng: Generator) -> None:
    """Hanging cloud-collar heads."""
    a = pen.aspect
    t = np.linspace(np.pi, 2 * np.pi, 13)
    for size, role in ((0.95, "petal"), (0.6, "ground")):
        points = np.stack([a / 2 + 0.48 * a * size * np.cos(t), 1 + size * np.sin(t) * 0.85], 1)
        pen.fill(points, role, 0.05)
    pen.line([(0, 0.98), (a, 0.98)], 0.08)


def key_fret(pen: Pen, rng: Generator) -> None:
    """A meander."""
    a = pen.aspect
    points = [(0, 0.15), (0.85 * a, 0.15), (0.85 * a, 0.85), (0.2 * a, 0.85), (0.2 * a, 0.42),
              (0.58 * a, 0.42), (0.58 * a, 0.62)]  # fmt: skip
    pen.line(points, 0.11)
    pen.line([(0, 0.15), (a, 0.15)], 0.11)


def waves(pen: Pen, rng: Generator) -> None:
    """Breaking waves."""
    for level in (0.2, 0.55):
        x = np.linspace(0, 1, 15)
        pen.line(np.stack([x * pen.aspect, level + wave(x, level * 8, 1, 0.14)], 1), 0.09)
    pen.spiral(0.3 * pen.aspect, 0.4, 0.8, 0.6, 0.8, "line", 0.08)


def diaper(pen: Pen, rng: Generator) -> None:
    """A lattice."""
    a = pen.aspect
    pen.line([(0, 0), (a, 1)], 0.08)
    pen.line([(0, 1), (a, 0)], 0.08)
    pen.disc(0.5 * a, 0.5, 0.12, "accent")


def classic_scroll(pen: Pen, rng: Generator) -> None:
    """A small leafy scroll."""
    x = np.linspace(0, 1, 15)
    pen.line(np.stack([x * pen.aspect, 0.5 + wave(x, 0, 1, 0.3)], 1), 0.08, "stem")
    pen.spiral(0.25 * pen.aspect, 0.75, -0.4, 0.7, 0.9, "stem", 0.08)
    pen.spiral(0.75 * pen.aspect, 0.25, 0.4, 0.7, -0.9, "stem", 0.08)


BORDERS: dict[str, tuple[Motif, float]] = {
    "lappets": (lappets, 0.7),
    "ruyi": (ruyi, 1.2),
    "key_fret": (key_fret, 1.0),
    "waves": (waves, 1.6),
    "diaper": (diaper, 1.0),
    "scroll": (classic_scroll, 2.2),
}
