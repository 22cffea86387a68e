"""Ornament: a dictionary of fields and one of borders, each a function that draws one motif."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from training.data.rendering.pen import Motif, Pen, wave

TAU = 2 * np.pi


def _bloom(pen: Pen, x: float, y: float, size: float, rng: Generator, kind: str) -> None:
    """A flower head: lotus, peony, chrysanthemum or prunus."""
    if kind == "lotus":
        for layer, count in ((1.0, 7), (0.72, 5), (0.45, 3)):
            for angle in np.linspace(0.06 * np.pi, 0.94 * np.pi, count):
                pen.petal(x, y - 0.25 * size, angle, size * layer, size * 0.42 * layer)
        pen.fill([(x - 0.3 * size, y - 0.2 * size), (x + 0.3 * size, y - 0.2 * size),
                  (x, y - 0.5 * size)], "accent")  # fmt: skip
    elif kind == "peony":
        for layer, count in ((1.0, 9), (0.7, 7), (0.42, 5)):
            for k in range(count):
                angle = TAU * (k + 0.5 * layer) / count
                reach = size * layer * 0.62
                pen.disc(x + reach * np.cos(angle), y + 0.85 * reach * np.sin(angle),
                         size * 0.3 * layer, "petal", 0.012)  # fmt: skip
        pen.disc(x, y, size * 0.2, "accent", 0.01)
    elif kind == "chrysanthemum":
        for layer, count in ((1.0, 14), (0.62, 10)):
            for k in range(count):
                pen.petal(x, y, TAU * k / count, size * layer, size * 0.3 * layer)
        pen.disc(x, y, size * 0.22, "accent", 0.01)
    else:
        for k in range(5):
            angle = TAU * k / 5 + 0.3
            pen.disc(x + 0.5 * size * np.cos(angle), y + 0.5 * size * np.sin(angle),
                     size * 0.4, "petal", 0.01)  # fmt: skip
        pen.disc(x, y, size * 0.2, "accent")


def _leaf(pen: Pen, x: float, y: float, angle: float, size: float) -> None:
    pen.petal(x, y, angle, size, size * 0.42, "leaf")
    tip = (x + size * np.cos(angle), y + size * np.sin(angle))
    pen.line([(x, y), tip], 0.008, "stem")


def _scroll(pen: Pen, rng: Generator, kind: str) -> None:
    """One period of a running vine, its flowers in the bends, leaves and tendrils between."""
    x = np.linspace(-0.05, 1.05, 40)
    pen.line(np.stack([x * pen.aspect, 0.5 + wave(x, 0, 1, 0.34)], 1), 0.026, "stem")
    for at in np.linspace(0.02, 0.98, 13):
        slope = np.arctan2(TAU * 0.34 * np.cos(TAU * at), pen.aspect)
        height = 0.5 + 0.34 * np.sin(TAU * at)
        for side in (-1.0, 1.0):
            inward = side * np.sin(TAU * at) < 0
            if inward and abs(np.sin(TAU * at)) > 0.75:
                continue
            size = rng.uniform(0.17, 0.24) * (0.8 if inward else 1.0)
            _leaf(pen, at * pen.aspect, height, slope + side * rng.uniform(0.6, 1.2), size)
    size = min(0.34, 0.24 * pen.aspect)
    for centre, height, side in ((0.25, 0.4, 1.0), (0.75, 0.6, -1.0)):
        middle = (centre * pen.aspect, height)
        for angle in (0.5, 2.6):
            pen.spiral(
                middle[0], middle[1] - side * 0.28, -side * angle, 0.34, side * 0.8, "stem", 0.018
            )
        _bloom(pen, *middle, size, rng, kind)


def lotus_scroll(pen: Pen, rng: Generator) -> None:
    """Indian lotus on a running scroll."""
    _scroll(pen, rng, "lotus")


def peony_scroll(pen: Pen, rng: Generator) -> None:
    """Peonies on a running scroll."""
    _scroll(pen, rng, "peony")


def chrysanthemum_scroll(pen: Pen, rng: Generator) -> None:
    """Chrysanthemums on a running scroll."""
    _scroll(pen, rng, "chrysanthemum")


def dragon(pen: Pen, rng: Generator) -> None:
    """A striding dragon after a pearl, among clouds."""
    for at in (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.93):
        _cloud(pen, at * pen.aspect, float(rng.choice([0.1, 0.9, 0.93, 0.07])), 0.12, rng)
        _cloud(pen, (at + 0.05) * pen.aspect, rng.uniform(0.25, 0.75), 0.07, rng)
    x = np.linspace(0.05, 0.86, 60)
    y = 0.5 + wave(x, rng.uniform(0, 0.8), 1.6, 0.24)
    thick = 0.12 * np.sin(np.pi * np.linspace(0.04, 0.92, 60)) ** 0.6
    top = np.stack([x * pen.aspect, y + thick], 1)
    low = np.stack([x * pen.aspect, y - thick], 1)
    pen.fill(np.concatenate([top, low[::-1]]), "petal", 0.02)
    for k in range(2, 58, 2):
        pen.line([top[k], low[k]], 0.008)
        pen.petal(top[k][0], top[k][1], np.pi / 2 + 0.5, 0.06, 0.04, "accent")
    for at in (0.28, 0.42, 0.6, 0.74):
        k = int((at - 0.05) / 0.81 * 59)
        side = -1.0 if at in (0.28, 0.6) else 1.0
        foot = (x[k] * pen.aspect + 0.12, y[k] + side * 0.27)
        pen.line(
            [(x[k] * pen.aspect, y[k]), (foot[0] - 0.15, y[k] + side * 0.2), foot], 0.05, "petal"
        )
        for claw in (-0.5, 0.1, 0.7):
            end = (foot[0] + 0.09 * np.cos(claw), foot[1] + 0.09 * np.sin(claw) * side)
            pen.line([foot, end], 0.018)
    head = (x[-1] * pen.aspect, y[-1])
    pen.disc(*head, 0.12, "petal", 0.02)
    pen.petal(head[0], head[1] + 0.02, 0.2, 0.22, 0.12)
    pen.petal(head[0], head[1] - 0.04, -0.5, 0.17, 0.08)
    pen.line([head, (head[0] - 0.1, head[1] + 0.24)], 0.03)
    pen.disc(head[0] + 0.02, head[1] + 0.05, 0.025, "line")
    pen.disc(min(head[0] + 0.38, pen.aspect * 0.97), 0.62, 0.07, "accent", 0.015)


def _cloud(pen: Pen, x: float, y: float, size: float, rng: Generator) -> None:
    for dx, dy, scale in ((-0.9, 0, 0.7), (0, 0.35, 1.0), (0.9, 0, 0.7), (0, -0.2, 0.8)):
        pen.disc(x + dx * size, y + dy * size, size * 0.6 * scale, "wash", 0.012)
    pen.line([(x + size, y - 0.2 * size), (x + 2.6 * size, y - 0.5 * size)], 0.02, "wash")


def clouds_cranes(pen: Pen, rng: Generator) -> None:
    """Cranes in flight among ruyi clouds."""
    for k in range(4):
        x, y = (0.14 + 0.25 * k) * pen.aspect, 0.68 - 0.36 * (k % 2)
        pen.petal(x, y, 0.5, 0.26, 0.11, "ground")
        pen.petal(x, y, 2.5, 0.26, 0.11, "ground")
        pen.petal(x - 0.04, y - 0.03, -0.3, 0.2, 0.09, "ground")
        pen.line([(x + 0.12, y - 0.07), (x + 0.22, y - 0.02), (x + 0.27, y - 0.05)], 0.02)
        pen.disc(x + 0.23, y - 0.01, 0.025, "accent")
    for x in np.linspace(0.06, 0.94, 6):
        for y in (0.08, 0.5, 0.92):
            _cloud(pen, (x + rng.uniform(-0.05, 0.05)) * pen.aspect, y, rng.uniform(0.06, 0.1), rng)


def landscape(pen: Pen, rng: Generator) -> None:
    """Mountains, a pavilion, trees and a boat on the water."""
    for depth in (0.8, 0.5):
        for _ in range(3):
            x, wide = rng.uniform(0, 1) * pen.aspect, rng.uniform(0.25, 0.5) * pen.aspect
            peak = 0.45 + 0.6 * depth * rng.uniform(0.6, 1)
            ridge = np.linspace(-1, 1, 13)
            edge = peak - (peak - 0.32) * np.abs(ridge) ** 1.1 + rng.normal(0, 0.025, 13)
            shape = np.stack([x + ridge * wide / 2, edge], 1)
            pen.fill(
                np.concatenate([shape, [[x + wide / 2, 0.3], [x - wide / 2, 0.3]]]), "wash", 0.012
            )
            for k in (4, 6, 8):
                pen.line([shape[k], (shape[k][0] + 0.03, 0.36)], 0.012)
    bank = np.linspace(0, 1, 20)
    shore = 0.26 + 0.05 * np.sin(TAU * bank * 2 + rng.uniform(0, 6)) * np.sin(np.pi * bank)
    pen.fill(np.concatenate([np.stack([bank * pen.aspect, shore], 1),
                             [[pen.aspect, 0.16], [0, 0.16]]]), "leaf", 0.014)  # fmt: skip
    x = rng.uniform(0.2, 0.4) * pen.aspect
    pen.fill([(x, 0.3), (x + 0.3, 0.3), (x + 0.3, 0.42), (x, 0.42)], "ground", 0.014)
    pen.fill(
        [(x - 0.07, 0.42), (x + 0.37, 0.42), (x + 0.24, 0.53), (x + 0.06, 0.53)], "petal", 0.016
    )
    for _ in range(3):
        tree(pen, rng.uniform(0.45, 0.95) * pen.aspect, 0.26, rng.uniform(0.35, 0.6), rng)
    for _ in range(5):
        y, x = rng.uniform(0.02, 0.13), rng.uniform(0, 0.9) * pen.aspect
        pen.line([(x, y), (x + 0.2, y + 0.01)], 0.01)
    for k in range(3):
        _cloud(pen, (0.15 + 0.33 * k) * pen.aspect, rng.uniform(0.8, 0.95), 0.06, rng)
    x = rng.uniform(0.5, 0.8) * pen.aspect
    pen.fill([(x, 0.09), (x + 0.3, 0.09), (x + 0.24, 0.04), (x + 0.06, 0.04)], "accent", 0.012)


def tree(pen: Pen, x: float, y: float, tall: float, rng: Generator) -> None:
    """A pine with cloud-like foliage."""
    lean = rng.uniform(-0.12, 0.12)
    pen.line([(x, y), (x + lean, y + tall * 0.5), (x + lean * 0.4, y + tall)], 0.034, "stem")
    for _ in range(5):
        cx, cy = x + lean + rng.normal(0, 0.09), y + tall * rng.uniform(0.5, 1.05)
        pen.disc(cx, cy, rng.uniform(0.05, 0.085), "leaf", 0.01)


def branch(pen: Pen, rng: Generator) -> None:
    """A gnarled flowering branch with a bird."""
    x = np.linspace(0.04, 0.96, 14)
    y = 0.2 + 0.55 * x + np.cumsum(rng.normal(0, 0.03, 14))
    pen.line(np.stack([x * pen.aspect, y], 1), 0.04, "stem")
    kind = str(rng.choice(["prunus", "peony", "prunus", "chrysanthemum"]))
    for k in range(1, 13):
        side = 1 if k % 2 == 1 else -1
        base = (x[k] * pen.aspect, y[k])
        reach = rng.uniform(0.14, 0.34)
        tip = (base[0] + rng.uniform(-0.05, 0.18), float(np.clip(y[k] + side * reach, 0.08, 0.92)))
        pen.line([base, tip], 0.02, "stem")
        for _ in range(3):
            _leaf(pen, *tip, rng.uniform(0, TAU), rng.uniform(0.12, 0.2))
        _bloom(pen, *tip, 0.1 if kind == "prunus" else 0.14, rng, kind)
        if kind == "prunus":
            pen.disc(base[0], base[1] + side * 0.07, 0.035, "petal", 0.01)
    bird = (0.55 * pen.aspect, min(0.88, y[7] + 0.1))
    pen.petal(bird[0], bird[1], 2.9, 0.2, 0.1, "accent")
    pen.disc(bird[0], bird[1], 0.045, "accent", 0.01)


def bamboo(pen: Pen, rng: Generator) -> None:
    """Bamboo stems with leaves."""
    for k in range(3):
        x = (0.2 + 0.3 * k + rng.uniform(-0.06, 0.06)) * pen.aspect
        lean = rng.uniform(-0.08, 0.08)
        pen.line([(x, 0), (x + lean, 1)], 0.03, "stem")
        for y in np.linspace(0.15, 0.95, 6):
            sx = x + lean * y
            for _ in range(3):
                down = rng.choice([-1, 1]) * rng.uniform(0.2, 0.9)
                _leaf(pen, sx, y, (0 if down > 0 else np.pi) - down * 0.6, rng.uniform(0.14, 0.24))


def fish(pen: Pen, rng: Generator) -> None:
    """Fish among water weeds."""
    for k in range(2):
        x, y = (0.28 + 0.5 * k) * pen.aspect, 0.5 + 0.16 * (-1) ** k
        t = np.linspace(0, 1, 15)
        half = 0.13 * np.sin(np.pi * t**0.75)
        top = np.stack([x - 0.24 + 0.45 * t, y + half + 0.04 * np.sin(3 * t)], 1)
        low = np.stack([x - 0.24 + 0.45 * t, y - half + 0.04 * np.sin(3 * t)], 1)
        pen.fill(np.concatenate([top, low[::-1]]), "petal", 0.018)
        pen.petal(x + 0.19, y + 0.02, 0.6, 0.16, 0.09, "accent")
        pen.petal(x + 0.19, y + 0.02, -0.6, 0.16, 0.09, "accent")
        pen.petal(x - 0.04, y + 0.12, 1.2, 0.13, 0.12, "accent")
        pen.disc(x - 0.16, y + 0.03, 0.022, "line")
        for k2 in range(3, 12, 2):
            pen.line([top[k2], low[k2]], 0.008)
    for at in (0.02, 0.08, 0.5, 0.54, 0.6, 0.96):
        rise = np.linspace(0, rng.uniform(0.5, 0.98), 9)
        sway = at * pen.aspect + 0.05 * np.sin(rise * 9)
        pen.line(np.stack([sway, rise], 1), 0.024, "leaf")
        for k in range(1, 9):
            _leaf(pen, float(sway[k]), float(rise[k]), 1.5 + 0.9 * (-1) ** k, 0.13)
    _bloom(pen, 0.54 * pen.aspect, 0.86, 0.16, rng, "lotus")
    _leaf(pen, 0.2 * pen.aspect, 0.06, 0.4, 0.3)
    _leaf(pen, 0.8 * pen.aspect, 0.06, 2.7, 0.3)


def figures(pen: Pen, rng: Generator) -> None:
    """Robed scholars and boys in a garden."""
    tree(pen, 0.12 * pen.aspect, 0.1, 0.75, rng)
    pen.fill([(0, 0.02), (pen.aspect, 0.02), (pen.aspect, 0.12), (0, 0.1)], "leaf", 0.012)
    for k in range(3):
        x, tall = (0.35 + 0.23 * k) * pen.aspect, rng.uniform(0.42, 0.62)
        role = str(rng.choice(["petal", "accent", "wash"]))
        robe = [(x - 0.14, 0.1), (x - 0.08, tall), (x + 0.08, tall), (x + 0.15, 0.1)]
        pen.fill(robe, role, 0.016)
        pen.fill([(x - 0.08, tall), (x - 0.22, tall - 0.16), (x - 0.16, tall - 0.24),
                  (x, tall - 0.12)], role, 0.014)  # fmt: skip
        pen.disc(x, tall + 0.09, 0.075, "ground", 0.014)
        pen.disc(x - 0.01, tall + 0.15, 0.05, "line")
    for x in (0.25, 0.8):
        _cloud(pen, x * pen.aspect, 0.92, 0.07, rng)


def sprays(pen: Pen, rng: Generator) -> None:
    """Scattered flower sprays and butterflies, as on famille rose."""
    kinds = ["peony", "chrysanthemum", "prunus", "lotus"]
    for at, height in ((0.12, 0.3), (0.37, 0.68), (0.62, 0.28), (0.87, 0.66)):
        x, y = (at + rng.uniform(-0.04, 0.04)) * pen.aspect, height + rng.uniform(-0.06, 0.06)
        angle = rng.uniform(0, TAU)
        for turn in (0.0, 2.1, 4.2):
            pen.spiral(x, y, angle + turn, 0.22, 0.35, "stem", 0.014)
            _leaf(
                pen,
                x + 0.1 * np.cos(angle + turn),
                y + 0.1 * np.sin(angle + turn),
                angle + turn,
                0.14,
            )
        _bloom(pen, x, y, rng.uniform(0.13, 0.18), rng, str(rng.choice(kinds)))
        x, y = (at + 0.02) * pen.aspect, height + (0.42 if height < 0.5 else -0.42)
        if rng.random() < 0.5:
            for bend, size in ((0.6, 0.13), (2.54, 0.13), (-0.7, 0.08), (-2.44, 0.08)):
                pen.petal(x, y, bend, size, 0.7 * size, "accent")
            pen.line([(x, y - 0.05), (x, y + 0.06)], 0.02)
        else:
            _bloom(pen, x, y, 0.07, rng, "prunus")
            _leaf(pen, x, y, angle, 0.15)


def shou(pen: Pen, rng: Generator) -> None:
    """Longevity roundels with bats between."""
    x, y, r = 0.5 * pen.aspect, 0.5, 0.3
    pen.disc(x, y, r, "ground", 0.03)
    for dy in (-0.18, -0.09, 0.0, 0.09, 0.18):
        half = np.sqrt(max(r * r - dy * dy, 0)) * 0.75
        pen.line([(x - half, y + dy), (x + half, y + dy)], 0.03)
    pen.line([(x, y - 0.25), (x, y + 0.25)], 0.03)
    for side in (-1, 1):
        for at, size in ((0.16, 0.2), (0.84, 0.2)):
            bx = x + side * pen.aspect * 0.36
            for bend in (0.5, 2.6):
                pen.petal(bx, at, bend, size, size * 0.55, "accent")
            pen.disc(bx, at, size * 0.25, "accent", 0.01)
        _cloud(pen, x + side * pen.aspect * 0.45, 0.5, 0.06, rng)


def medallion_band(pen: Pen, rng: Generator) -> None:
    """Round reserves holding a flower, on a worked ground."""
    for gx in np.arange(0, pen.aspect, 0.16):
        for gy in np.arange(0.05, 1, 0.16):
            pen.spiral(gx, gy, 0.5, 0.12, 1.1, "stem", 0.01)
    x = 0.5 * pen.aspect
    pen.disc(x, 0.5, 0.4, "ground", 0.03)
    _leaf(pen, x, 0.42, 0.2, 0.28)
    _leaf(pen, x, 0.42, 2.9, 0.28)
    _leaf(pen, x, 0.42, -0.9, 0.24)
    _bloom(pen, x, 0.52, 0.22, rng, str(rng.choice(["peony", "lotus", "chrysanthemum"])))


def brush_script(pen: Pen, rng: Generator) -> None:
    """Free brush marks: grasses and cursive strokes, as on Cizhou and Changsha wares."""
    for k in range(3):
        x, y = (0.2 + 0.3 * k) * pen.aspect, rng.uniform(0.3, 0.6)
        for _ in range(5):
            angle, size = rng.uniform(0.3, 2.8), rng.uniform(0.15, 0.38)
            pen.petal(x, y, angle, size, size * rng.uniform(0.2, 0.45), "leaf")
        pen.spiral(x, y, -0.6, 0.4, 0.8, "leaf", 0.035)
        pen.disc(x, y, 0.05, "line")


def splashes(pen: Pen, rng: Generator) -> None:
    """Loose splashes of coloured glaze or iron."""
    for _ in range(3):
        x, y, size = (
            rng.uniform(0.15, 0.85) * pen.aspect,
            rng.uniform(0.35, 0.8),
            rng.uniform(0.1, 0.22),
        )
        angle = np.linspace(0, TAU, 19)[:-1]
        radius = size * (1 + 0.25 * rng.normal(size=18).cumsum() / 4)
        drop = np.where(np.sin(angle) < -0.7, 1.8, 1.0)
        pen.fill(
            np.stack([x + radius * np.cos(angle), y + radius * drop * np.sin(angle)], 1), "leaf", 0
        )


def petals_carved(pen: Pen, rng: Generator) -> None:
    """Standing lotus petals, as carved around Longquan and Yue bowls."""
    t = np.linspace(0, 1, 15)
    half = 0.5 * pen.aspect * (1 - t**2.6) ** 0.5
    x = 0.5 * pen.aspect
    outline = np.concatenate(
        [np.stack([x - half, t * 0.95], 1), np.stack([x + half, t * 0.95], 1)[::-1]]
    )
    pen.line(outline, 0.05)
    pen.line([(x, 0), (x, 0.9)], 0.02)


FIELDS: dict[str, tuple[Motif, float]] = {
    "lotus_scroll": (lotus_scroll, 1.9),
    "peony_scroll": (peony_scroll, 1.9),
    "chrysanthemum_scroll": (chrysanthemum_scroll, 1.8),
    "dragon": (dragon, 3.0),
    "cranes": (clouds_cranes, 1.9),
    "landscape": (landscape, 2.4),
    "branch": (branch, 1.8),
    "bamboo": (bamboo, 1.3),
    "fish": (fish, 1.8),
    "figures": (figures, 1.8),
    "sprays": (sprays, 1.7),
    "shou": (shou, 1.3),
    "medallions": (medallion_band, 1.2),
    "script": (brush_script, 1.8),
    "splashes": (splashes, 1.6),
    "petals": (petals_carved, 0.42),
}


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
