"""Things that are not Chinese ceramics, taken in the porcelain renderer's own studio.

The vessels are the very forms that the renderer glazes, in metal, glass, wood and plastic: lamps,
grounds, cameras and grain are those of rendered porcelain too, so that only the thing differs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from PIL import Image

from training.data.rendering import forms, history, scene
from training.data.rendering.canvas import Canvas, tiles
from training.data.rendering.glazes import Skin
from training.data.rendering.render import texture_size
from training.data.rendering.surface import Array, Patch, Plan, Zone, ellipsoid, revolve

SIZE = 224
Cover = Callable[[Canvas, Generator], Skin]
"""Covers a vessel with a material."""


def _pick(rng: Generator, *colours: tuple[float, float, float]) -> Array:
    """One of some colours, never quite the same."""
    chosen = np.asarray(colours[rng.integers(len(colours))]) + rng.normal(0, 0.03, 3)
    return np.clip(chosen, 0, 1).astype(np.float32)


def _skin(canvas: Canvas, colour: Array, shade: Array, rough: float, relief: float) -> Skin:
    """A colour that varies by `shade` [height, width], which is also its relief."""
    return Skin(
        np.clip(colour * (1 + shade[..., None]), 0, 1).astype(np.float32),
        np.full((canvas.height, canvas.width), rough, np.float32),
        (shade * relief).astype(np.float32),
    )


def metal(canvas: Canvas, rng: Generator) -> Skin:
    """Copper, brass, silver, iron or dull pewter, smooth or hammered."""
    colour = _pick(
        rng, (0.93, 0.62, 0.48), (0.9, 0.75, 0.45), (0.92, 0.92, 0.9), (0.5, 0.49, 0.48),
        (0.7, 0.7, 0.72),
    )  # fmt: skip
    dents = canvas.sample(tiles()["soft"], rng, float(rng.uniform(1, 3)))
    stains = canvas.sample(tiles()["cloud"], rng, 0.5)
    shade = 0.04 * stains + 0.01 * dents
    plain = _skin(canvas, colour, shade, float(rng.uniform(0.12, 0.45)), 0)
    hammered = dents * float(rng.choice([0.0, 0.006]))
    return Skin(plain.colour, plain.roughness, hammered.astype(np.float32), metallic=1.0)


def glass(canvas: Canvas, rng: Generator) -> Skin:
    """Clear, green, blue, amber or red glass."""
    tint = _pick(
        rng, (0.95, 0.97, 0.96), (0.5, 0.85, 0.6), (0.4, 0.6, 0.9), (0.9, 0.65, 0.25),
        (0.85, 0.2, 0.2),
    )  # fmt: skip
    size = (canvas.height, canvas.width)
    waves = canvas.sample(tiles()["soft"], rng, 0.5) * 0.004
    # The body itself gives back next to nothing but its reflections.
    dark = np.full((*size, 3), 0.08, np.float32) * tint
    through = tint * rng.uniform(0.55, 0.9)
    clear = (float(through[0]), float(through[1]), float(through[2]))
    return Skin(dark, np.full(size, 0.06, np.float32), waves.astype(np.float32), clear=clear)


def wood(canvas: Canvas, rng: Generator) -> Skin:
    """Turned wood with its grain, raw or oiled."""
    colour = _pick(rng, (0.72, 0.52, 0.33), (0.5, 0.32, 0.2), (0.82, 0.67, 0.47), (0.3, 0.19, 0.13))
    streaks = canvas.sample(tiles()["streak"], rng, 0.6, tall=6.0)
    rings = np.sin(canvas.way * rng.uniform(15, 40) + 3 * canvas.sample(tiles()["soft"], rng, 0.3))
    shade = 0.1 * streaks + 0.09 * rings + 0.04 * canvas.sample(tiles()["grain"], rng, 1.5)
    return _skin(canvas, colour, shade, float(rng.uniform(0.4, 0.8)), 0.004)


def plastic(canvas: Canvas, rng: Generator) -> Skin:
    """One bright, even colour with a soft sheen: the nearest thing to a monochrome glaze."""
    colour = _pick(
        rng, (0.85, 0.1, 0.1), (0.1, 0.35, 0.8), (0.95, 0.8, 0.1), (0.1, 0.6, 0.3),
        (0.95, 0.5, 0.1), (0.9, 0.3, 0.6), (0.93, 0.93, 0.93), (0.08, 0.08, 0.08),
    )  # fmt: skip
    even = canvas.sample(tiles()["grain"], rng, 2.0) * 0.004
    return _skin(canvas, colour, even, float(rng.uniform(0.2, 0.45)), 0.0)


def vessel(cover: Cover, rng: Generator) -> Image.Image:
    """A photograph of a vessel of the potters' forms in another material."""
    ware, kind, shape = history.draw(rng)
    return _photograph(forms.build(shape, ware.potting, rng), cover, kind, rng)


def _photograph(thing: forms.Vessel, cover: Cover, kind: str, rng: Generator) -> Image.Image:
    canvas = Canvas(thing, *texture_size(SIZE))
    skin = cover(canvas, rng)
    return scene.photograph(thing, canvas, skin, scene.choose_view(kind, rng), SIZE, rng)


def fruit(rng: Generator) -> Image.Image:
    """One to three apples, lemons, oranges, pears or plums, each with its stalk."""
    kind = str(rng.choice(["apple", "lemon", "orange", "pear", "plum"]))
    colours = {
        "apple": (0.75, 0.12, 0.1), "lemon": (0.93, 0.82, 0.2), "orange": (0.93, 0.5, 0.08),
        "pear": (0.72, 0.72, 0.25), "plum": (0.3, 0.1, 0.3),
    }  # fmt: skip
    patches: list[Patch] = []
    for place in range(int(rng.integers(1, 4))):
        where = (1.9 * place + float(rng.normal(0, 0.1)), float(rng.normal(0, 0.5)), 0.0)
        body = revolve(_outline(kind), np.full(41, Zone.OUTSIDE, np.int8), Plan(), "model", 1.0)
        size = float(rng.uniform(0.85, 1.05))
        tall = float(body.points[..., 2].max()) * size
        patches.append(body.moved(np.eye(3, dtype=np.float32) * np.float32(size), where))
        top = (where[0], where[1], tall - 0.1)
        patches.append(ellipsoid(top, (0.04, 0.04, 0.25), float(rng.normal(0, 0.3)), 0.05))

    def peel(canvas: Canvas, rng: Generator) -> Skin:
        blush = 0.12 * canvas.sample(tiles()["soft"], rng, 0.2)
        pores = canvas.sample(tiles()["grain"], rng, 2.0)
        flesh = _skin(canvas, _pick(rng, colours[kind]), blush + 0.03 * pores, 0.4, 0.0)
        for strip in canvas.strips[1::2]:
            flesh.colour[strip.start : strip.stop] = (0.3, 0.2, 0.1)
        bumpy = pores * (0.004 if kind in ("orange", "lemon") else 0.0)
        rough = np.full_like(flesh.roughness, float(rng.uniform(0.3, 0.6)))
        return Skin(flesh.colour, rough, bumpy.astype(np.float32))

    return _photograph(forms.Vessel("other", kind, tuple(patches), None), peel, "other", rng)


def _outline(kind: str) -> Array:
    """Radius and height from the bottom to the top of a fruit [41, 2]."""
    along = np.linspace(0.01, np.pi - 0.01, 41)
    radius, height = np.sin(along), 1 - np.cos(along)
    if kind == "apple":  # dented where the stalk is
        height = height - 0.45 * np.exp(-((along - np.pi) ** 2) / 0.15)
    elif kind == "pear":
        radius = radius * (1 - 0.55 * np.maximum(height - 1, 0) ** 0.7)
        height = height * 1.35
    elif kind == "lemon":
        height = height * 1.3 + 0.12 * (along - np.pi / 2) ** 3
    return np.stack([radius, height - height.min()], axis=1).astype(np.float32)


def face(rng: Generator) -> Image.Image:
    """A head with hair, eyes, nose and mouth, turned a little."""
    skin = _pick(rng, (0.88, 0.7, 0.58), (0.7, 0.5, 0.38), (0.42, 0.28, 0.2))
    hair = _pick(rng, (0.08, 0.06, 0.05), (0.35, 0.22, 0.12), (0.7, 0.55, 0.3), (0.6, 0.6, 0.6))
    white, dark, lips = (0.95, 0.95, 0.95), (0.1, 0.07, 0.05), (0.68, 0.3, 0.28)
    parts = [
        (ellipsoid((0, 0, 1.5), (0.78, 0.85, 1.05), share=1.0), skin),
        (ellipsoid((0, 0.2, 1.75), (0.86, 0.84, 0.95), share=0.5), hair),
        (ellipsoid((0, -0.83, 1.42), (0.12, 0.16, 0.22), share=0.1), skin * 0.96),
        (ellipsoid((0, -0.74, 1.0), (0.24, 0.09, 0.06), share=0.1), lips),
        (ellipsoid((0, 0.05, 0.35), (0.35, 0.35, 0.4), share=0.2), skin),
    ]
    for side in (-0.3, 0.3):
        parts.append((ellipsoid((side, -0.72, 1.65), (0.14, 0.1, 0.08), share=0.1), white))
        parts.append((ellipsoid((side, -0.81, 1.65), (0.05, 0.04, 0.05), share=0.1), dark))
    head = forms.Vessel("figure", "head", tuple(patch for patch, _ in parts), None)

    def paint(canvas: Canvas, rng: Generator) -> Skin:
        shade = 0.03 * canvas.sample(tiles()["cloud"], rng, 0.8)
        plain = _skin(canvas, np.ones(3, np.float32), shade, 0.55, 0.0)
        colour = plain.colour.copy()
        for strip, (_, tone) in zip(canvas.strips, parts, strict=True):
            colour[strip.start : strip.stop] *= np.asarray(tone, np.float32)
        return Skin(colour, plain.roughness, np.zeros_like(plain.relief))

    canvas = Canvas(head, *texture_size(SIZE))
    view = scene.choose_view("figure", rng)
    front = scene.View(**{**vars(view), "yaw": float(rng.normal(0, 0.4)), "elevation": 6.0})
    return scene.photograph(head, canvas, paint(canvas, rng), front, SIZE, rng)
