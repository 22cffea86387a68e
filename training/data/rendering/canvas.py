"""The texture a glaze is painted on: one strip per patch, and what each texel is on the vessel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from training.data.rendering.forms import Vessel
from training.data.rendering.surface import Array, Patch, Zone

TILE = 512
# Share of the texture a stretch of wall gets by its zone: what is rarely seen gets little.
_DETAIL = {Zone.BASE: 0.15, Zone.RING: 0.5, Zone.FOOT: 0.9, Zone.OUTSIDE: 1.0, Zone.RIM: 1.5}


_LEAST = 6


@dataclass(frozen=True)
class Strip:
    """Rows `start` to `stop` of the texture, given to one patch.

    Attributes:
        v: texture row of each patch row [rows], from `start`.
        girth: mean way around the outside.
    """

    patch: Patch
    start: int
    stop: int
    v: Array
    girth: float


class Canvas:
    """What each row of the texture lies on.

    Attributes:
        zone: zone of each texture row [height, 1].
        rise: 0 at the foot's joint, 1 at the lip; on the inside 1 at the lip, 0 at the middle.
        radius: radius of each row [height, 1]; `reach` is the strip's largest.
        way: length along the profile [height, 1].
        trim: 1 on handles and other joined parts [height, 1].
    """

    def __init__(self, vessel: Vessel, width: int, height: int) -> None:
        self.width, self.height = width, max(height, 4 * _LEAST * len(vessel.patches))
        self.vessel = vessel
        self.strips = _layout(vessel, self.height)
        rows = [_row_fields(strip) for strip in self.strips]
        self.zone = np.concatenate([row["zone"] for row in rows])[:, None]
        self.rise = np.concatenate([row["rise"] for row in rows])[:, None]
        self.radius = np.concatenate([row["radius"] for row in rows])[:, None]
        self.way = np.concatenate([row["way"] for row in rows])[:, None]
        self.girth = np.concatenate([row["girth"] for row in rows])[:, None]
        self.trim = np.concatenate(
            [np.full(s.stop - s.start, s.patch.part == "trim", np.float32) for s in self.strips]
        )[:, None]
        self.inside = self.zone == Zone.INSIDE
        # Glaze runs down a bowl's inside, but lies still on a lid or a pillow.
        self.level = vessel.type in ("box", "pillow", "other")
        self.u = ((np.arange(width) + 0.5) / width).astype(np.float32)[None]
        # Level parts of the inside are textured from above; upright ones, like the outside, around.
        slope = np.abs(np.gradient(self.radius[:, 0])) / (np.gradient(self.way[:, 0]) + 1e-6)
        flat = np.flatnonzero(self.inside[:, 0] & (slope > 0.55))
        angle = 2 * np.pi * self.u
        self._flat = flat
        self._flat_x = (self.radius[flat] * np.cos(angle)).astype(np.float32)
        self._flat_y = (self.radius[flat] * np.sin(angle)).astype(np.float32)

    def sample(self, tile: Array, rng: Generator, scale: float, tall: float = 1.0) -> Array:
        """Reads a repeating tile over the whole texture [height, width].

        Args:
            tile: a periodic picture [TILE, TILE].
            rng: draws where on the tile to start.
            scale: tiles per unit of length (a body's greatest radius is 1).
            tall: how much the tile is stretched along the profile (streaks).
        """
        start = rng.integers(0, TILE, 2)
        repeats = np.maximum(1, np.round(self.girth * scale))
        # TILE is a power of two, so that wrapping is a mask: this is the renderer's inner loop.
        x = (self.u * (repeats * TILE)).astype(np.int32) + start[1]
        y = (self.way * (scale / tall * TILE)).astype(np.int32) + start[0]
        index = ((y & (TILE - 1)) * TILE + (x & (TILE - 1))).astype(np.int32)
        if len(self._flat) and (tall == 1.0 or self.level):
            x_flat = (self._flat_x * (scale * TILE)).astype(np.int32) + start[1]
            y_flat = (self._flat_y * (scale * TILE)).astype(np.int32) + start[0]
            index[self._flat] = (y_flat & (TILE - 1)) * TILE + (x_flat & (TILE - 1))
        field: Array = tile.ravel().take(index)
        return field

    def around(self, tile: Array, rng: Generator, scale: float) -> Array:
        """Reads one line of a tile around the vessel [1, width]: how far drips run."""
        start = rng.integers(0, TILE, 2)
        x = (self.u * (max(1, round(scale)) * TILE)).astype(np.int32)
        line: Array = tile[start[0], (x + start[1]) % TILE]
        return line

    def stamp_inside(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Looks up a square picture, seen from above, on the inside rows.

        Args:
            picture: [n, n, c], its edge at radius 1.

        Returns:
            [rows, width, c].
        """
        size = len(picture)
        radius, angle = self.radius[self.inside_rows] / 2, 2 * np.pi * self.u
        x = np.clip((radius * np.cos(angle) + 0.5) * size, 0, size - 1).astype(np.int32)
        y = np.clip((radius * np.sin(angle) + 0.5) * size, 0, size - 1).astype(np.int32)
        stamped: NDArray[np.uint8] = picture[y, x]
        return stamped

    @property
    def inside_rows(self) -> NDArray[np.intp]:
        """Indices of the texture rows on the inside."""
        return np.flatnonzero(self.inside[:, 0])

    def coordinates(self) -> list[Array]:
        """Texture coordinates of each patch's grid [rows, columns, 2]."""
        grids = []
        for strip in self.strips:
            columns = strip.patch.points.shape[1]
            u, v = np.meshgrid(np.linspace(0, 1, columns), (strip.v + 0.5) / self.height)
            grids.append(np.stack([u, v], axis=-1).astype(np.float32))
        return grids


def _layout(vessel: Vessel, height: int) -> list[Strip]:
    total = sum(patch.share for patch in vessel.patches)
    spare = height - _LEAST * len(vessel.patches)
    strips, start = [], 0
    for index, patch in enumerate(vessel.patches):
        last = index == len(vessel.patches) - 1
        stop = height if last else start + _LEAST + int(spare * patch.share / total)
        lip = patch.radii[patch.zones == Zone.RIM]
        hidden = len(lip) > 0 and float(lip.mean()) < 0.8 * float(patch.radii.max())
        detail = {**_DETAIL, Zone.INSIDE: 0.2 if hidden else 0.8}
        weight = np.array([detail[Zone(zone)] for zone in patch.zones])
        steps = np.diff(patch.lengths) * (weight[1:] + weight[:-1]) / 2
        along = np.concatenate([[0], np.cumsum(steps)]) / max(float(steps.sum()), 1e-9)
        # A texel's margin on both sides keeps neighbouring strips from bleeding in.
        v = start + 1.0 + along * (stop - start - 3)
        wall = patch.zones == Zone.OUTSIDE
        girth = 2 * np.pi * float(patch.radii[wall].mean() if wall.any() else patch.radii.mean())
        strips.append(Strip(patch, start, stop, v.astype(np.float32), girth))
        start = stop
    return strips


def _row_fields(strip: Strip) -> dict[str, Array]:
    patch = strip.patch
    rows = np.arange(strip.stop - strip.start) + strip.start
    at = np.interp(rows, strip.v, np.arange(len(strip.v)))
    zone = patch.zones[np.round(at).astype(int)]
    way, radius = patch.lengths, patch.radii
    rise = np.zeros(len(way), np.float32)
    for kind in (Zone.OUTSIDE, Zone.INSIDE):
        mine = np.flatnonzero(patch.zones == kind)
        if len(mine):
            span = max(float(way[mine[-1]] - way[mine[0]]), 1e-6)
            part = (way[mine] - way[mine[0]]) / span
            rise[mine] = part if kind == Zone.OUTSIDE else 1 - part
    rise[patch.zones == Zone.RIM] = 1.0
    if patch.part in ("trim", "model"):
        low = patch.points[..., 2].mean(axis=1)
        rise = ((low - low.min()) / max(float(np.ptp(low)), 1e-6)).astype(np.float32)
    return {
        "zone": zone,
        "rise": np.interp(at, np.arange(len(way)), rise).astype(np.float32),
        "radius": np.interp(at, np.arange(len(way)), radius).astype(np.float32),
        "way": np.interp(at, np.arange(len(way)), way).astype(np.float32),
        "girth": np.full(len(rows), strip.girth, np.float32),
    }


@lru_cache(maxsize=1)
def tiles() -> dict[str, Array]:
    """Periodic noises, the same in every process: clouds, grain, crackle nets and cells."""
    rng = np.random.default_rng(20260114)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(TILE) * TILE, np.fft.fftfreq(TILE) * TILE))

    def spectrum(power: float, low: float, high: float) -> Array:
        noise = np.fft.fft2(rng.standard_normal((TILE, TILE)))
        keep = np.where((frequency >= low) & (frequency <= high), 1.0, 0.0)
        field = np.fft.ifft2(noise * keep / np.maximum(frequency, 1) ** power).real
        scaled: Array = (field / field.std()).astype(np.float32)
        return scaled

    cloud, soft = spectrum(1.7, 1, 160), spectrum(1.2, 2, 24)
    return {
        "cloud": cloud,
        "soft": soft,
        "grain": spectrum(0.3, 20, 200),
        "streak": spectrum(0.9, 8, 130),
        "net": _cells(rng, 70, soft, 5.0),
        "fine_net": _cells(rng, 420, soft, 2.5),
        "spots": _dots(rng, 260),
    }


def _cells(rng: Generator, count: int, warp: Array, strength: float) -> Array:
    """Distance to the nearest edge between cells, as a part of a cell's size [TILE, TILE]."""
    seeds = rng.uniform(0, TILE, (count, 2))
    shifts = np.array([(a, b) for a in (-TILE, 0, TILE) for b in (-TILE, 0, TILE)])
    tree = cKDTree((seeds[None] + shifts[:, None]).reshape(-1, 2))
    y, x = np.mgrid[:TILE, :TILE].astype(np.float64)
    points = np.stack([y + strength * warp, x + strength * np.roll(warp, 97, 0)], -1)
    near, _ = tree.query(points.reshape(-1, 2), k=2)
    gap = (near[:, 1] - near[:, 0]).reshape(TILE, TILE)
    relative: Array = (gap / np.sqrt(TILE * TILE / count)).astype(np.float32)
    return relative


def _dots(rng: Generator, count: int) -> Array:
    """Round specks of uneven size, 1 in their middle [TILE, TILE]."""
    seeds = rng.uniform(0, TILE, (count, 2))
    size = rng.gamma(2.0, 1.0, count) + 0.7
    shifts = np.array([(a, b) for a in (-TILE, 0, TILE) for b in (-TILE, 0, TILE)])
    tree = cKDTree((seeds[None] + shifts[:, None]).reshape(-1, 2))
    grid = np.mgrid[:TILE, :TILE].reshape(2, -1).T
    near, index = tree.query(grid, k=1)
    dots: Array = np.clip(1.4 - near / size[index % count], 0, 1)
    return dots.reshape(TILE, TILE).astype(np.float32)


def rgb(colour: str) -> tuple[int, int, int]:
    """The three bytes of "#rrggbb"."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def pick(colours: tuple[str, ...], rng: Generator, spread: float = 0.035) -> Array:
    """Draws one of the colours, mixed a little towards another, and jitters it. sRGB 0 to 1 [3]."""
    first, second = (np.array(rgb(str(c)), np.float32) / 255 for c in rng.choice(colours, 2))
    colour = first + (second - first) * rng.uniform(0, 0.5)
    jitter = rng.normal(0, spread * 0.4, 3) + rng.normal(0, spread)
    mixed: Array = np.clip(colour + jitter, 0.01, 0.99).astype(np.float32)
    return mixed


def blend(under: Array, over: Array, cover: Array) -> Array:
    """Mixes `over` [3] or [h, w, 3] into `under` [h, w, 3] by `cover` [h, w]."""
    mixed: Array = under + (over - under) * cover[..., None]
    return mixed
