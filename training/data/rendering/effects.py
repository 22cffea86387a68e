"""What the fire does to a glaze: streaks, opalescence, running colours, speckles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from training.data.rendering.canvas import Canvas, blend, rgb, tiles
from training.data.rendering.history import Look
from training.data.rendering.surface import Array


@dataclass
class Coat:
    """A skin in the making, handed from step to step.

    Attributes:
        canvas: what each texel lies on.
        look: the ware's look.
        rng: the picture's generator.
        thickness: of the glaze, about 1 where normal, 0 where bare [height, width].
        colour: sRGB so far [height, width, 3].
        relief: height so far [height, width].
    """

    canvas: Canvas
    look: Look
    rng: Generator
    thickness: Array
    colour: Array
    relief: Array


def _colour(text: str) -> Array:
    return np.array(rgb(text), np.float32) / 255


def _choice(coat: Coat, role: str, default: str) -> Array:
    return _colour(str(coat.rng.choice(coat.look.paints.get(role, (default,)))))


def streaks(coat: Coat, strength: float) -> None:
    """Hare's fur: fine russet streaks that run down from the lip (Jian)."""
    canvas, rng = coat.canvas, coat.rng
    fur = canvas.sample(tiles()["streak"], rng, 1.6, 14.0)
    fade = np.clip(0.25 + canvas.rise**1.2, 0, 1)
    cover = np.clip((fur - 0.25 + 0.5 * fade) * 0.8, 0, 1) * fade * strength
    coat.colour = blend(coat.colour, _choice(coat, "streak", "#8a5a2c"), cover * 0.85)
    lip = np.exp((canvas.rise - 1) / 0.05) * 0.8
    coat.colour = blend(coat.colour, _colour("#7a4a24"), np.broadcast_to(lip, cover.shape) * 0.9)


def russet(coat: Coat, strength: float) -> None:
    """Rust-brown spots and patches in a black glaze."""
    cloud = coat.canvas.sample(tiles()["cloud"], coat.rng, 0.4, 1.0)
    cover = np.clip((cloud - 0.5) * 1.6, 0, 1) * strength
    coat.colour = blend(coat.colour, _choice(coat, "streak", "#7d4522"), cover * 0.8)


def tortoiseshell(coat: Coat, strength: float) -> None:
    """Amber mottling on dark brown (Jizhou)."""
    net = coat.canvas.sample(tiles()["cloud"], coat.rng, 0.7)
    cover = np.clip(np.abs(net) * 1.4 - 0.5, 0, 1) * strength
    coat.colour = blend(coat.colour, _choice(coat, "streak", "#c08a42"), cover * 0.9)


def jun(coat: Coat, strength: float) -> None:
    """Opalescent blue over an olive-brown lip, with milky curdling."""
    canvas, rng = coat.canvas, coat.rng
    milk = canvas.sample(tiles()["cloud"], rng, 0.9, 2.0)
    coat.colour = blend(coat.colour, _colour("#cfdcea"), np.clip(milk * 0.3, 0, 0.5) * strength)
    deep = np.clip(coat.thickness - 0.9, 0, 1.5)
    coat.colour = blend(
        coat.colour, coat.colour * np.array([0.8, 0.87, 1.0], np.float32), deep * 0.7
    )
    thin = np.clip(0.75 - coat.thickness, 0, 0.7) / 0.7
    coat.colour = blend(coat.colour, _colour("#9a8560"), thin * 0.95)


def purple(coat: Coat, strength: float) -> None:
    """Copper-purple splashes on Jun blue."""
    patch = coat.canvas.sample(tiles()["soft"], coat.rng, 0.16, 1.0)
    wisp = coat.canvas.sample(tiles()["cloud"], coat.rng, 0.6)
    cover = np.clip((patch * 0.8 + wisp * 0.35 - 0.55) * 1.5, 0, 1) * strength
    coat.colour = blend(coat.colour, _choice(coat, "accent", "#7c3f74"), cover * 0.85)


def sancai(coat: Coat, strength: float) -> None:
    """Lead colours that run into each other down the wall."""
    canvas, rng = coat.canvas, coat.rng
    for role, default in (("petal", "#b06a1e"), ("leaf", "#3f6b34"), ("accent", "#d9c58e")):
        run = canvas.sample(tiles()["soft"], rng, 0.5, 6.0) * 0.8
        run = run + canvas.sample(tiles()["streak"], rng, 0.22, 5.0) * 0.22
        run = run + canvas.sample(tiles()["soft"], rng, 0.3, 1.2) * 0.55
        bias = 0.5 * (canvas.rise - 0.55)
        cover = np.clip((run + bias - rng.uniform(0.05, 0.5)) * 2.0, 0, 1)
        tone = 1 + 0.1 * canvas.sample(tiles()["cloud"], rng, 0.5)
        colour = _choice(coat, role, default) * np.clip(tone, 0.7, 1.25)[..., None]
        coat.colour = blend(coat.colour, np.clip(colour, 0, 1), cover * 0.95)


def patches(coat: Coat, strength: float) -> None:
    """Clean-edged spots of egg-and-spinach enamel (Qing tiger skin)."""
    for role, default in (("leaf", "#1f7a3c"), ("petal", "#e0a92a"), ("accent", "#5b2a50")):
        spot = coat.canvas.sample(tiles()["soft"], coat.rng, 0.4)
        spot = spot + 0.12 * coat.canvas.sample(tiles()["cloud"], coat.rng, 0.8)
        cover = np.clip((spot - 0.35) * 7, 0, 1)
        coat.colour = blend(coat.colour, _choice(coat, role, default), cover)


def speckle(coat: Coat, strength: float) -> None:
    """Iron specks and pinholes of a coarse body."""
    spots = coat.canvas.sample(tiles()["spots"], coat.rng, float(coat.rng.uniform(0.9, 1.6)))
    coat.colour = blend(coat.colour, coat.colour * 0.45, spots * strength * 0.8)
    coat.relief -= spots * 0.003


def iron_spots(coat: Coat, strength: float) -> None:
    """Dabs of iron brown on the shoulder and lip (Jin celadon, qingbai)."""
    canvas = coat.canvas
    spot = canvas.sample(tiles()["soft"], coat.rng, 0.55)
    where = np.exp(-(((canvas.rise - 0.93) / 0.06) ** 2))
    cover = np.clip((spot - 1.35) * 5, 0, 1) * where * strength
    coat.colour = blend(coat.colour, _colour("#3d2a17"), cover)


def weathered(coat: Coat, strength: float) -> None:
    """Earth stain and worn patches from burial."""
    cloud = coat.canvas.sample(tiles()["cloud"], coat.rng, 0.3)
    cover = np.clip((cloud - 0.55) * 0.9, 0, 0.7) * strength
    coat.colour = blend(coat.colour, _colour("#b39a6b"), cover * 0.6)


def mottled(coat: Coat, strength: float) -> None:
    """Red and green drift of a copper glaze (langyao, peach bloom); a white lip."""
    cloud = coat.canvas.sample(tiles()["cloud"], coat.rng, 0.5, 3.0)
    coat.colour = blend(coat.colour, coat.colour * 0.6, np.clip(cloud * 0.5, 0, 0.6) * strength)
    thin = np.clip(0.6 - coat.thickness, 0, 0.6) / 0.6
    coat.colour = blend(coat.colour, _colour("#e9e2d2"), thin)


EFFECTS: dict[str, Callable[[Coat, float], None]] = {
    "streaks": streaks,
    "russet": russet,
    "tortoiseshell": tortoiseshell,
    "jun": jun,
    "purple": purple,
    "sancai": sancai,
    "patches": patches,
    "speckle": speckle,
    "iron_spots": iron_spots,
    "weathered": weathered,
    "mottled": mottled,
}
