"""Glazes: from a ware's look to colour, roughness and relief on the canvas."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from training.data.rendering.canvas import Canvas, blend, pick, tiles
from training.data.rendering.decor import ornament
from training.data.rendering.effects import EFFECTS, Coat
from training.data.rendering.history import Look
from training.data.rendering.surface import Array, Zone


@dataclass(frozen=True)
class Skin:
    """The surface on the canvas; what is no glaze may also be metal or let the ground through.

    Attributes:
        colour: sRGB, 0 to 1 [height, width, 3].
        roughness: 0 to 1 [height, width].
        relief: height of the surface in units of length [height, width].
        metallic: 0 to 1; a metal's colour is that of its reflections.
        clear: shares of the ground's red, green and blue that show through.
    """

    colour: Array
    roughness: Array
    relief: Array
    metallic: float = 0.0
    clear: tuple[float, float, float] = (0.0, 0.0, 0.0)


def paint(canvas: Canvas, look: Look, kind: str, rng: Generator) -> Skin:
    """Glazes and decorates one vessel.

    Args:
        canvas: the texture to fill.
        look: the ware's look.
        kind: the vessel's type.
        rng: draws everything.
    """
    size = (canvas.height, canvas.width)
    zero = np.zeros(size, np.float32)
    coat = Coat(
        canvas, look, rng, _thickness(canvas, look, rng), np.zeros((*size, 3), np.float32), zero
    )
    clay = pick(look.clay, rng)
    _base(coat, clay)
    for name in look.effects:
        EFFECTS[name](coat, float(rng.uniform(*look.effect_strength)))
    if look.motifs and rng.random() >= look.plain:
        _decorate(coat, kind)
    if look.crackle > 0:
        _crackle(coat)
    _dress(coat)
    bare = _bare(coat)
    grain = tiles()["grain"]
    grit = canvas.sample(grain, rng, 2.2) * 0.03 + canvas.sample(tiles()["cloud"], rng, 0.7) * 0.03
    coat.colour = blend(coat.colour, np.clip(clay * (1 + grit[..., None]), 0, 1), bare)
    coat.relief += bare * (grit * 0.02 - 0.006)
    gloss = float(rng.uniform(*look.gloss))
    rough = 0.06 + 0.42 * (1 - gloss) + 0.03 * np.abs(canvas.sample(tiles()["cloud"], rng, 0.9))
    rough = rough + (0.85 - rough) * bare
    return Skin(np.clip(coat.colour, 0, 1), np.clip(rough, 0.05, 1).astype(np.float32), coat.relief)


def _thickness(canvas: Canvas, look: Look, rng: Generator) -> Array:
    """Glaze runs down: thin on the lip and on edges, thick above the foot and in the well."""
    cloud = canvas.sample(tiles()["soft"], rng, 0.25)
    thick = 1 + look.unevenness * 0.5 * cloud
    outside, rise = canvas.zone == Zone.OUTSIDE, canvas.rise
    thick = thick + outside * (0.5 * np.exp(-rise / 0.08) - 0.7 * np.exp((rise - 1) / 0.018))
    well = canvas.inside * (0.5 * np.exp(-rise / 0.35) - 0.5 * np.exp((rise - 1) / 0.03))
    thick = thick + well - 0.75 * (canvas.zone == Zone.RIM)
    edge = np.exp(-(((rise - 0.97) / 0.02) ** 2)) * 0.25
    clipped: Array = np.clip(thick - edge * canvas.trim, 0.05, 3).astype(np.float32)
    return clipped


def _base(coat: Coat, clay: Array) -> None:
    """Glaze colour by thickness: body shows through where thin, deeper where it pools."""
    look, rng, canvas = coat.look, coat.rng, coat.canvas
    full = pick(look.glaze, rng)
    thin = pick((look.thin,), rng, 0.02) if look.thin else full * 0.72 + 0.28 * clay * 0.5 + 0.14
    pool = full * np.array([0.84, 0.88, 0.88], np.float32)
    low = np.clip(1 - coat.thickness, 0, 1) ** 1.3
    high = np.clip(coat.thickness - 1, 0, 1.2)
    colour = blend(np.broadcast_to(full, coat.colour.shape), thin, low)
    colour = blend(colour, pool, high)
    if look.inside and rng.random() < 0.85:
        within = pick((look.inside,), rng, 0.015)
        mask = (canvas.inside | (canvas.zone == Zone.RIM)).astype(np.float32)
        colour = blend(colour, within, np.broadcast_to(mask, coat.thickness.shape))
    mottle = canvas.sample(tiles()["cloud"], rng, 0.35) * 0.022 * (0.4 + look.unevenness * 2)
    mottle = mottle + canvas.sample(tiles()["grain"], rng, 1.1) * 0.008
    coat.colour = np.clip(colour * (1 + mottle[..., None]), 0, 1).astype(np.float32)
    phase = canvas.way * rng.uniform(30, 60) + 2 * np.sin(canvas.way * rng.uniform(5, 9))
    ripple = np.sin(phase + rng.uniform(0, 6)) * rng.uniform(0.0002, 0.0012)
    swell = canvas.sample(tiles()["soft"], rng, 0.3) * (0.004 - 0.0022 * canvas.inside)
    ripple = ripple * (1 - 0.8 * canvas.inside)
    coat.relief = (ripple * 2 * look.unevenness + swell * (0.15 + 1.4 * look.unevenness)).astype(
        np.float32
    )


def _decorate(coat: Coat, kind: str) -> None:
    """Paints or carves the ware's ornament."""
    look, rng = coat.look, coat.rng
    layer = ornament(coat.canvas, look, kind, rng)
    cover = layer[..., 3] / 255
    if look.carved:
        depth = cover * np.float32(0.9)
        shade = coat.colour * np.array([0.68, 0.74, 0.72], np.float32)
        coat.colour = blend(coat.colour, shade, depth * look.ink)
        coat.relief -= depth * 0.012
        return
    paint_colour = layer[..., :3] / 255
    if look.bleed > 0:
        cloud = coat.canvas.sample(tiles()["cloud"], rng, 0.8)
        tone = np.clip(1 + look.bleed * 0.45 * cloud, 0.45, 1.6)
        paint_colour = 1 - (1 - paint_colour) * np.clip(tone, 0.5, 1.35)[..., None]
        dark = np.clip(cloud - 1.3, 0, 1) * look.bleed
        paint_colour = paint_colour * (1 - 0.5 * dark[..., None])
    # Paint under the glaze takes the glaze's own shading.
    shading = 0.75 + 0.25 * coat.colour / max(float(coat.colour.mean()), 1e-3)
    coat.colour = blend(coat.colour, np.clip(paint_colour * np.minimum(shading, 1.05), 0, 1),
                        cover * look.ink)  # fmt: skip
    coat.relief += cover * 0.0015


def _crackle(coat: Coat) -> None:
    """A net of dark cracks; on Ge ware a fine golden one between."""
    look, rng, canvas = coat.look, coat.rng, coat.canvas
    scale = float(rng.uniform(*look.crackle_scale))
    glazed = np.clip(coat.thickness, 0, 1)
    if look.gold:
        fine = np.clip(1 - canvas.sample(tiles()["fine_net"], rng, scale * 0.9) / 0.16, 0, 1)
        coat.colour = blend(
            coat.colour, pick(("#a8864e",), rng), fine * glazed * 0.55 * look.crackle
        )
    gap = canvas.sample(tiles()["net"], rng, scale)
    uneven = np.clip(0.75 + 0.35 * canvas.sample(tiles()["soft"], rng, 0.4), 0.15, 1)
    line = np.clip(1 - gap / (0.055 if look.gold else 0.045), 0, 1) * uneven
    coat.colour = blend(
        coat.colour, pick((look.crackle_colour,), rng), line * glazed * look.crackle
    )
    coat.relief -= line * 0.0015 * look.crackle


def _dress(coat: Coat) -> None:
    """A brown or bare mouth."""
    look, rng, canvas = coat.look, coat.rng, coat.canvas
    if not look.rim:
        return
    width = rng.uniform(0.012, 0.03)
    reach = np.where(
        canvas.zone == Zone.OUTSIDE, np.clip((canvas.rise - 1 + width) / width, 0, 1), 0
    )
    reach = np.where(canvas.inside, np.clip((canvas.rise - 1 + width) / width, 0, 1), reach)
    reach = np.where(canvas.zone == Zone.RIM, 1.0, reach) * (1 - canvas.trim)
    ragged = np.clip(
        reach * 1.6 + 0.12 * canvas.sample(tiles()["cloud"], rng, 0.5) * (reach > 0), 0, 1
    )
    coat.colour = blend(coat.colour, pick((look.rim,), rng), ragged.astype(np.float32))


def _bare(coat: Coat) -> Array:
    """Where there is no glaze: the foot's underside, and as far up as the ware's glaze stops."""
    look, rng, canvas = coat.look, coat.rng, coat.canvas
    stop = float(rng.uniform(*look.stop))
    drip = (
        canvas.around(tiles()["soft"], rng, 2) * 0.35
        + canvas.around(tiles()["cloud"], rng, 1) * 0.3
    )
    edge = stop + drip * max(0.012, 0.07 * max(stop, 0) + 0.02 * (stop > 0))
    outside = (canvas.zone == Zone.OUTSIDE) * (1 - canvas.trim) * (stop > 0)
    bare = outside * np.clip((edge - canvas.rise) / 0.008, 0, 1)
    roll = outside * np.exp(-(((canvas.rise - edge - 0.02) / 0.016) ** 2))
    coat.colour *= 1 - 0.22 * roll[..., None]
    coat.relief += roll * 0.012
    ring = (canvas.zone == Zone.RING) | ((canvas.zone == Zone.BASE) & (stop > -0.2))
    foot = (canvas.zone == Zone.FOOT) & (stop > -0.06)
    if foot.any():
        ground = float(canvas.way[canvas.zone == Zone.FOOT].min())
        # A tall stem is glazed nearly to the ground.
        foot &= canvas.way < ground + 0.16
    rows: NDArray[np.bool_] = ring | foot
    result: Array = np.maximum(bare, rows).astype(np.float32)
    return result
