"""Lays ornament on the canvas: bands of motifs around the outside, a medallion within."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from training.data.rendering.canvas import Canvas, rgb
from training.data.rendering.history import Look
from training.data.rendering.motifs import BORDERS, FIELDS
from training.data.rendering.pen import Motif, Palette, Pen
from training.data.rendering.surface import Array, Zone

ROLES = ("line", "petal", "leaf", "accent", "stem", "wash", "ground")


_LOW = {"bowl": (0.26, 0.38), "cup": (0.22, 0.32), "dish": (0.3, 0.45), "basin": (0.2, 0.3)}
# Motifs that read when they fill a circle; others give way to one of these.
_CENTRAL = ("lotus_scroll", "peony_scroll", "chrysanthemum_scroll", "dragon", "landscape", "branch",
            "fish", "bamboo", "script", "splashes")  # fmt: skip


@dataclass(frozen=True)
class Band:
    """A zone of the outside, between two fractions of its rise."""

    low: float
    high: float
    motif: str
    border: bool


def palette(look: Look, rng: Generator) -> Palette:
    """Draws one colour for each role; a role the ware does not name falls back to its line."""
    colours: Palette = {}
    fallback = look.paints["line"]
    for role in ROLES:
        choices = look.paints.get(role, fallback)
        text = str(rng.choice(choices))
        alpha = int(text[7:9], 16) if len(text) == 9 else 255
        colours[role] = (*rgb(text), alpha)
    return colours


def _bands(look: Look, kind: str, rng: Generator) -> list[Band]:
    motifs = list(look.motifs)
    shares = np.array(list(look.motifs.values()))
    field = str(rng.choice(motifs, p=shares / shares.sum()))
    if kind in ("dish", "bowl", "cup", "basin", "box", "censer", "spittoon") or not look.borders:
        # The lowest part of an open form curves under, out of sight.
        low, high = rng.uniform(*_LOW.get(kind, (0.1, 0.2))), rng.uniform(0.88, 0.94)
        bands = [Band(low, high, field, False)]
        if look.borders and rng.random() < 0.55:
            bands.append(Band(high + 0.015, 0.985, str(rng.choice(look.borders)), True))
        if look.borders and rng.random() < 0.4:
            bands.append(Band(0.0, low - 0.01, str(rng.choice(look.borders)), True))
        return bands
    low, high = rng.uniform(0.16, 0.24), rng.uniform(0.6, 0.72)
    bands = [
        Band(low, high, field, False),
        Band(0.02, low - 0.02, str(rng.choice(look.borders)), True),
    ]
    top = rng.uniform(0.76, 0.82)
    bands.append(Band(high + 0.02, top, str(rng.choice(look.borders)), True))
    if rng.random() < 0.6:
        bands.append(Band(top + 0.02, 0.97, str(rng.choice([*look.borders, "lappets"])), True))
    return bands


def ornament(canvas: Canvas, look: Look, kind: str, rng: Generator) -> Array:
    """Draws the ware's ornament.

    Returns:
        colour and cover [height, width, 4], bytes as float32 0 to 255; cover 0 where bare.
    """
    colours = palette(look, rng)
    layer = Image.new("RGBA", (canvas.width * 2, canvas.height), (0, 0, 0, 0))
    bands = _bands(look, kind, rng)
    for strip in canvas.strips:
        if strip.patch.part not in ("body", "lid"):
            continue
        rows = np.arange(strip.start, strip.stop)
        wall = rows[canvas.zone[rows, 0] == Zone.OUTSIDE]
        if len(wall) < 12:
            continue
        lid = strip.patch.part == "lid" and kind != "box"
        for band in [Band(0.12, 0.9, bands[0].motif, False)] if lid else bands:
            _lay(layer, canvas, wall, band, colours, rng)
    rows = canvas.inside_rows
    within = len(rows) and kind in ("dish", "bowl", "basin", "pillow", "box", "cup")
    if within and kind in ("dish", "basin", "bowl") and rng.random() < 0.6:
        name = str(rng.choice([field for field in look.motifs if field != "dragon"] or ["branch"]))
        _lay(layer, canvas, rows, Band(0.62, 0.93, name, False), colours, rng, upright=False)
    cover = layer.resize((canvas.width, canvas.height), Image.Resampling.BOX)
    flat = np.asarray(cover, np.float32).copy()
    if within and rng.random() < (0.9 if kind in ("dish", "pillow", "box") else 0.6):
        centre = canvas.stamp_inside(_medallion(colours, kind, bands[0].motif, rng))
        flat[rows] = np.where(flat[rows][..., 3:] > 0, flat[rows], centre)
    return flat


def _lay(
    layer: Image.Image, canvas: Canvas, wall: NDArray[np.intp], band: Band, colours: Palette,
    rng: Generator, upright: bool = True,
) -> None:  # fmt: skip
    """Repeats one motif around the vessel inside a band, with ruled lines at its edges."""
    mine = wall[(canvas.rise[wall, 0] >= band.low) & (canvas.rise[wall, 0] <= band.high)]
    if len(mine) < 5:
        return
    top, bottom = int(mine[0]), int(mine[-1]) + 1
    tall = float(canvas.way[bottom - 1, 0] - canvas.way[top, 0]) + 1e-6
    girth = 2 * np.pi * float(canvas.radius[mine, 0].mean())
    motif, aspect = (BORDERS if band.border else FIELDS)[band.motif]
    repeats = max(1, round(girth / (tall * aspect)))
    width = layer.width // repeats
    height = (bottom - top) * 2
    aspect = girth / repeats / tall
    cells = [
        _cell(motif, width, height, aspect, colours, rng, upright) for _ in range(min(repeats, 2))
    ]
    for index in range(repeats):
        left = index * layer.width // repeats
        cell = cells[index % len(cells)]
        layer.paste(cell, (left, top))
    pen = ImageDraw.Draw(layer)
    for row in (top, bottom - 1):
        pen.line([(0, row), (layer.width, row)], fill=colours["line"], width=1)


def _cell(
    motif: Motif, width: int, height: int, aspect: float, colours: Palette, rng: Generator,
    upright: bool,
) -> Image.Image:  # fmt: skip
    pen = Pen(width, height, aspect, colours)
    motif(pen, rng)
    # Rows of the canvas climb outside and descend inside; a motif's head is towards the lip.
    flip = Image.Transpose.FLIP_TOP_BOTTOM
    picture = pen.image.transpose(flip) if upright else pen.image
    return picture.resize((picture.width, max(1, height // 2)), Image.Resampling.BOX)


def _medallion(colours: Palette, kind: str, motif: str, rng: Generator) -> NDArray[np.uint8]:
    """A square picture of the inside seen from above: a central motif and rim bands."""
    size = 512
    picture = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    across = 0.56 if kind in ("dish", "basin") else 0.36
    if kind in ("pillow", "box"):
        across = 0.72
    inner = int(size * across)
    name = motif if motif in _CENTRAL else str(rng.choice(_CENTRAL[:6]))
    pen = Pen(inner, inner, 1.0, colours)
    FIELDS[name][0](pen, rng)
    mask = Image.new("L", (inner, inner), 0)
    ImageDraw.Draw(mask).ellipse((2, 2, inner - 3, inner - 3), fill=255)
    corner = (size - inner) // 2
    picture.paste(pen.image, (corner, corner), mask)
    draw = ImageDraw.Draw(picture)
    for radius in (across + 0.02, 0.9, 0.955):
        reach = radius * size / 2
        box = (size / 2 - reach, size / 2 - reach, size / 2 + reach, size / 2 + reach)
        draw.ellipse(box, outline=colours["line"], width=4)
    return np.asarray(picture)
