"""The outlines that a potter turns: one table of shapes, and the wall that follows from each.

Points run up the outside wall from where it leaves the foot to the lip, as (radius, height), the
widest radius about 1 and the height from 0 to 1; `height` then stretches it.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from training.data.rendering.surface import Array, Zone


@dataclass(frozen=True)
class Shape:
    """One named outline. `extras` are the parts that `forms` joins to it."""

    type: str
    height: tuple[float, float]
    points: tuple[tuple[float, float], ...]
    foot: float = 0.10
    flare: float = 0.0
    wall: float = 0.035
    open: bool = False
    extras: tuple[str, ...] = ()
    stretch: tuple[float, float] = (1.0, 1.0)
    power: float = 2.0


SHAPES: dict[str, Shape] = {
    # bowls
    "bowl_round": Shape(
        "bowl", (0.72, 0.92),
        ((0.42, 0), (0.66, 0.07), (0.86, 0.3), (0.95, 0.6), (1.0, 1)), 0.1, open=True),
    "bowl_flared": Shape(
        "bowl", (0.72, 0.9),
        ((0.42, 0), (0.62, 0.06), (0.78, 0.3), (0.86, 0.65), (0.92, 0.87), (1.0, 1)),
        0.12, open=True),
    "bowl_conical": Shape(
        "bowl", (0.5, 0.68), ((0.24, 0), (0.4, 0.16), (0.72, 0.6), (1.0, 1)), 0.06, open=True),
    "bowl_tea": Shape(
        "bowl", (0.68, 0.82),
        ((0.32, 0), (0.48, 0.08), (0.8, 0.5), (0.96, 0.84), (0.955, 0.93), (1.0, 1)),
        0.07, wall=0.05, open=True),
    "bowl_closed": Shape(
        "bowl", (0.72, 1.0),
        ((0.5, 0), (0.72, 0.1), (0.95, 0.42), (1.0, 0.72), (0.93, 0.95), (0.91, 1)),
        0.04, wall=0.05, open=True),
    "bowl_shallow": Shape(
        "bowl", (0.5, 0.62),
        ((0.4, 0), (0.68, 0.1), (0.9, 0.5), (1.0, 1)), 0.09, open=True),
    # cups
    "cup_bell": Shape(
        "cup", (0.95, 1.15),
        ((0.42, 0), (0.66, 0.08), (0.76, 0.35), (0.84, 0.75), (1.0, 1)), 0.12, open=True),
    "cup_straight": Shape(
        "cup", (1.2, 1.5),
        ((0.62, 0), (0.84, 0.08), (0.93, 0.3), (0.97, 0.7), (1.0, 1)), 0.08, open=True),
    "cup_stem": Shape(
        "cup", (0.72, 0.85),
        ((0.2, 0), (0.55, 0.1), (0.82, 0.36), (0.9, 0.75), (1.0, 1)), 0.72, 1.3, open=True),
    "cup_handled": Shape(
        "cup", (1.0, 1.25),
        ((0.5, 0), (0.78, 0.12), (0.95, 0.4), (0.9, 0.7), (0.94, 1)), 0.08, open=True,
        extras=("ring_handle",)),
    # dishes
    "dish_round": Shape(
        "dish", (0.26, 0.34), ((0.56, 0), (0.74, 0.08), (0.9, 0.5), (1.0, 1)), 0.07, open=True),
    "dish_everted": Shape(
        "dish", (0.28, 0.36),
        ((0.52, 0), (0.7, 0.1), (0.8, 0.45), (0.86, 0.85), (0.99, 0.97), (1.0, 1)),
        0.07, open=True),
    "dish_low": Shape(
        "dish", (0.2, 0.27), ((0.62, 0), (0.78, 0.1), (0.94, 0.6), (1.0, 1)), 0.05, open=True),
    # basins
    "basin_flat_rim": Shape(
        "basin", (0.5, 0.62),
        ((0.5, 0), (0.64, 0.06), (0.8, 0.45), (0.84, 0.92), (0.98, 0.97), (1.0, 1)),
        0.03, wall=0.05, open=True),
    "basin_washer": Shape(
        "basin", (0.42, 0.54),
        ((0.84, 0), (0.94, 0.05), (0.96, 0.4), (0.98, 0.9), (1.0, 1)), 0.05, wall=0.05, open=True),
    "basin_narcissus": Shape(
        "basin", (0.42, 0.5),
        ((0.8, 0), (0.88, 0.08), (0.94, 0.5), (0.96, 0.9), (1.0, 1)),
        0.03, wall=0.05, open=True, extras=("low_feet",), stretch=(1.35, 1.5)),
    # vases
    "vase_meiping": Shape(
        "vase", (2.9, 3.3),
        ((0.58, 0), (0.56, 0.1), (0.72, 0.38), (0.96, 0.66), (0.98, 0.76), (0.72, 0.88),
         (0.3, 0.925), (0.27, 0.96), (0.34, 1)), 0.04),
    "vase_yuhuchun": Shape(
        "vase", (3.0, 3.4),
        ((0.56, 0), (0.74, 0.05), (1.0, 0.24), (0.88, 0.42), (0.42, 0.62), (0.27, 0.78),
         (0.33, 0.92), (0.54, 1)), 0.12, 0.1),
    "vase_garlic": Shape(
        "vase", (3.0, 3.5),
        ((0.6, 0), (0.8, 0.05), (1.0, 0.22), (0.86, 0.38), (0.4, 0.53), (0.28, 0.7), (0.29, 0.8),
         (0.44, 0.88), (0.36, 0.95), (0.24, 1)), 0.12, 0.1),
    "vase_gu": Shape(
        "vase", (2.3, 2.7),
        ((0.66, 0), (0.5, 0.16), (0.42, 0.32), (0.52, 0.4), (0.52, 0.5), (0.42, 0.57),
         (0.56, 0.78), (1.0, 1)), 0.1, 0.12),
    "vase_zun": Shape(
        "vase", (1.5, 1.8),
        ((0.6, 0), (0.54, 0.14), (0.78, 0.26), (0.84, 0.42), (0.72, 0.56), (0.6, 0.68),
         (0.74, 0.86), (1.0, 1)), 0.1, 0.12),
    "vase_mallet": Shape(
        "vase", (2.3, 2.6),
        ((0.78, 0), (0.92, 0.03), (1.0, 0.2), (0.97, 0.42), (0.84, 0.51), (0.34, 0.57),
         (0.29, 0.62), (0.3, 0.93), (0.52, 0.985), (0.53, 1)), 0.05),
    "vase_globular": Shape(
        "vase", (2.5, 2.9),
        ((0.5, 0), (0.72, 0.04), (1.0, 0.26), (0.9, 0.44), (0.42, 0.56), (0.33, 0.64),
         (0.31, 0.85), (0.38, 1)), 0.07),
    "vase_gourd": Shape(
        "vase", (2.4, 2.7),
        ((0.56, 0), (0.76, 0.04), (1.0, 0.27), (0.78, 0.48), (0.42, 0.57), (0.6, 0.7),
         (0.6, 0.78), (0.3, 0.91), (0.22, 1)), 0.06),
    "vase_dish_mouth": Shape(
        "vase", (2.7, 3.1),
        ((0.56, 0), (0.66, 0.06), (0.98, 0.42), (0.96, 0.56), (0.56, 0.69), (0.36, 0.77),
         (0.36, 0.85), (0.58, 0.91), (0.62, 1)), 0.06),
    "vase_square": Shape(
        "vase", (2.3, 2.7),
        ((0.7, 0), (0.86, 0.035), (0.92, 0.05), (0.95, 0.84), (0.84, 0.885), (0.54, 0.91),
         (0.52, 0.96), (0.56, 1)), 0.08, power=5.0),
    # jars
    "jar_guan": Shape(
        "jar", (1.5, 1.8),
        ((0.62, 0), (0.66, 0.06), (0.9, 0.42), (1.0, 0.64), (0.9, 0.84), (0.58, 0.92),
         (0.52, 0.95), (0.54, 1)), 0.02),
    "jar_lugged": Shape(
        "jar", (1.35, 1.6),
        ((0.56, 0), (0.66, 0.07), (0.94, 0.42), (1.0, 0.62), (0.84, 0.83), (0.56, 0.9),
         (0.54, 0.94), (0.6, 1)), 0.02, extras=("lugs",)),
    "jar_globular": Shape(
        "jar", (1.15, 1.4),
        ((0.5, 0), (0.66, 0.05), (0.97, 0.38), (0.98, 0.6), (0.78, 0.83), (0.56, 0.9), (0.62, 1)),
        0.04),
    "jar_wide": Shape(
        "jar", (0.9, 1.1),
        ((0.5, 0), (0.68, 0.1), (1.0, 0.55), (0.94, 0.77), (0.72, 0.92), (0.7, 1)),
        0.02, extras=("lugs",)),
    "jar_dish_mouth": Shape(
        "jar", (1.6, 1.9),
        ((0.58, 0), (0.66, 0.05), (1.0, 0.42), (0.94, 0.57), (0.6, 0.71), (0.42, 0.77),
         (0.4, 0.84), (0.66, 0.9), (0.7, 1)), 0.02, extras=("lugs",)),
    "jar_lidded": Shape(
        "jar", (1.4, 1.75),
        ((0.6, 0), (0.66, 0.07), (0.94, 0.5), (1.0, 0.7), (0.86, 0.89), (0.6, 0.95), (0.6, 1)),
        0.04, extras=("lid",)),
    "jar_ginger": Shape(
        "jar", (1.9, 2.3),
        ((0.62, 0), (0.6, 0.08), (0.72, 0.36), (0.98, 0.68), (0.96, 0.82), (0.56, 0.93),
         (0.5, 0.95), (0.5, 1)), 0.04, extras=("lid",)),
    # ewers
    "ewer_pear": Shape(
        "ewer", (2.7, 3.0),
        ((0.6, 0), (0.78, 0.05), (1.0, 0.25), (0.86, 0.44), (0.44, 0.64), (0.3, 0.8), (0.4, 1)),
        0.12, 0.1, extras=("long_spout", "strap_handle")),
    "ewer_teapot": Shape(
        "ewer", (1.15, 1.35),
        ((0.56, 0), (0.74, 0.06), (1.0, 0.45), (0.94, 0.7), (0.62, 0.95), (0.5, 0.97), (0.5, 1)),
        0.06, extras=("spout", "loop_handle", "lid")),
    "ewer_short_spout": Shape(
        "ewer", (1.8, 2.1),
        ((0.66, 0), (0.78, 0.06), (1.0, 0.4), (0.92, 0.6), (0.58, 0.73), (0.46, 0.8), (0.5, 0.93),
         (0.68, 1)), 0.03, extras=("short_spout", "strap_handle", "lugs")),
    "ewer_chicken": Shape(
        "ewer", (1.6, 1.9),
        ((0.6, 0), (0.7, 0.05), (1.0, 0.4), (0.94, 0.56), (0.55, 0.7), (0.34, 0.76), (0.34, 0.86),
         (0.52, 0.9), (0.54, 1)), 0.02, extras=("chicken_spout", "strap_handle", "lugs")),
    "ewer_kendi": Shape(
        "ewer", (1.9, 2.2),
        ((0.56, 0), (0.76, 0.05), (1.0, 0.3), (0.86, 0.48), (0.36, 0.58), (0.26, 0.66),
         (0.24, 0.88), (0.42, 0.93), (0.36, 1)), 0.05, extras=("bulb_spout",)),
    # censers
    "censer_tripod": Shape(
        "censer", (0.85, 1.0),
        ((0.5, 0), (0.8, 0.12), (1.0, 0.42), (0.9, 0.7), (0.78, 0.82), (0.86, 0.95), (0.95, 1)),
        0.02, wall=0.05, open=True, extras=("three_legs",)),
    "censer_ding": Shape(
        "censer", (0.8, 0.95),
        ((0.6, 0), (0.88, 0.12), (1.0, 0.4), (0.93, 0.72), (0.9, 0.86), (1.0, 0.95), (1.0, 1)),
        0.02, wall=0.05, open=True, extras=("three_legs", "ears")),
    "censer_drum": Shape(
        "censer", (0.8, 0.95),
        ((0.9, 0), (0.98, 0.05), (1.0, 0.3), (1.0, 0.9), (0.98, 1)),
        0.02, wall=0.06, open=True, extras=("three_feet",)),
    "censer_gui": Shape(
        "censer", (0.85, 1.0),
        ((0.62, 0), (0.86, 0.12), (1.0, 0.38), (0.88, 0.72), (0.84, 0.82), (1.0, 1)),
        0.14, 0.1, wall=0.05, open=True, extras=("side_handles",)),
    # spittoons
    "spittoon_flared": Shape(
        "spittoon", (1.1, 1.3),
        ((0.5, 0), (0.66, 0.06), (0.84, 0.25), (0.74, 0.43), (0.44, 0.56), (0.5, 0.68),
         (0.84, 0.9), (1.0, 1)), 0.05),
    "spittoon_dish_mouth": Shape(
        "spittoon", (1.2, 1.45),
        ((0.62, 0), (0.78, 0.06), (1.0, 0.32), (0.84, 0.54), (0.54, 0.72), (0.56, 0.82),
         (0.76, 0.9), (0.8, 1)), 0.04),
    # boxes: the lid closes them
    "box_round": Shape(
        "box", (0.42, 0.55), ((0.66, 0), (0.86, 0.1), (0.98, 0.45), (1.0, 1)), 0.06, extras=("cover",)),
    "box_drum": Shape(
        "box", (0.3, 0.4), ((0.9, 0), (0.98, 0.12), (1.0, 0.3), (1.0, 1)), 0.03, extras=("cover",)),
    # pillows: closed slabs
    "pillow_bean": Shape(
        "pillow", (0.95, 1.15), ((0.9, 0), (0.94, 0.03), (0.97, 0.5), (1.0, 0.97), (0.97, 1)),
        0.0, extras=("slab",), stretch=(1.35, 1.6), power=2.7),
    "pillow_block": Shape(
        "pillow", (0.9, 1.15), ((0.93, 0), (0.96, 0.03), (0.97, 0.5), (1.0, 0.96), (0.96, 1)),
        0.0, extras=("slab",), stretch=(1.4, 1.75), power=5.0),
    # other
    "other_stool": Shape(
        "other", (2.1, 2.4),
        ((0.72, 0), (0.78, 0.02), (0.94, 0.25), (1.0, 0.5), (0.94, 0.75), (0.78, 0.98),
         (0.72, 1)), 0.0, extras=("slab",)),
    "other_cup_stand": Shape(
        "other", (0.34, 0.42),
        ((0.4, 0), (0.5, 0.08), (0.9, 0.42), (1.0, 0.5)), 0.22, 0.1, open=True, extras=("stand_cup",)),
}  # fmt: skip


@dataclass(frozen=True)
class Profile:
    """A finished section: rows [rows, 2] of radius and height, and the zone of each row."""

    rows: Array
    zones: NDArray[np.int8]
    lip: tuple[float, float] = field(default=(0.0, 0.0))

    def radius_at(self, height: float) -> float:
        """Outer radius at a height."""
        outside = (self.zones == Zone.OUTSIDE) | (self.zones == Zone.FOOT)
        rows = self.rows[outside]
        return float(np.interp(height, rows[:, 1], rows[:, 0]))


def outer_wall(shape: Shape, height: float, swell: float, count: int = 60) -> Array:
    """The smooth outside wall of a shape [count, 2], evenly spaced along its length.

    Args:
        shape: the outline.
        height: stretch of the height.
        swell: power on the heights; above 1 raises the widest point, below 1 lowers it.
        count: number of rows.
    """
    points = np.asarray(shape.points, np.float64)
    points[:, 1] = points[:, 1] ** swell * height
    chord = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    fine = np.linspace(0, chord[-1], 300)
    curve = np.stack([PchipInterpolator(chord, points[:, axis])(fine) for axis in (0, 1)], axis=1)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    even = np.linspace(0, length[-1], count)
    wall: Array = np.stack([np.interp(even, length, curve[:, axis]) for axis in (0, 1)], axis=1)
    return wall


def turn(
    shape: Shape, rng: Generator, wall: float, foot_width: float, foot_height: float
) -> Profile:
    """Turns a shape into a full section: base, foot ring, outside, rim and inside.

    Args:
        shape: the outline.
        rng: draws the proportions inside the shape's range.
        wall: factor on the shape's wall thickness.
        foot_width: factor on the foot's radius (Ming wide, Song narrow).
        foot_height: factor on the foot's height.
    """
    thick = shape.wall * wall
    tall = shape.foot * foot_height
    outside = outer_wall(shape, rng.uniform(*shape.height), float(rng.uniform(0.94, 1.07)))
    blend = np.clip(1 - outside[:, 1] / (0.3 * outside[-1, 1]), 0, 1) ** 2
    if shape.foot > 0:
        outside[:, 0] *= 1 + (foot_width - 1) * blend
    outside[:, 1] += tall
    joint = float(outside[0, 0])
    foot, base = _foot(joint, tall, shape.flare, thick)
    lean = outside[-1] - outside[-3]
    lean /= np.linalg.norm(lean)
    inward = np.array([-lean[1], lean[0]])
    turns = np.linspace(0, np.pi, 7)[1:-1, None]
    middle = outside[-1] + inward * thick / 2
    rim = middle - inward * np.cos(turns) * thick / 2 + lean * np.sin(turns) * thick / 2
    inside = _inside(outside, thick, shape.open)
    parts = [(base, Zone.BASE), (foot, Zone.FOOT), (outside, Zone.OUTSIDE)]
    ring = np.array([[foot[0, 0] - thick * 0.3, 0.0], [foot[0, 0] - 0.01, 0.004]])
    parts.insert(1, (ring, Zone.RING))
    parts += [(rim, Zone.RIM), (inside, Zone.INSIDE)]
    rows = np.concatenate([part for part, _ in parts]).astype(np.float32)
    rows[:, 0] = np.maximum(rows[:, 0], 0)
    zones = np.concatenate([np.full(len(part), zone, np.int8) for part, zone in parts])
    return Profile(rows, zones, (float(outside[-1, 0]), float(outside[-1, 1])))


def _foot(joint: float, tall: float, flare: float, thick: float) -> tuple[Array, Array]:
    """Outer side of the foot ring from the ground up, and the base within it."""
    if tall < 1e-6:
        low = np.array([[joint * 0.985, 0.008], [joint * 0.995, 0.02], [joint, 0.03]])
        return low, np.array([[0.0, 0.006], [joint * 0.9, 0.003]])
    heights = np.array([0.02, 0.06, 0.2, 0.4, 0.6, 0.8, 0.97]) * tall
    spread = joint * (1 + flare * (1 - heights / tall) ** 2)
    foot = np.stack([spread, np.maximum(heights, 0.006)], axis=1)
    roof = min(0.8 * tall, 0.12)
    width = 0.75 * thick + 0.03
    base = [[0.0, roof], [(spread[0] - width) * 0.97, roof], [spread[0] - width, 0.004]]
    return foot, np.array(base)


def _inside(outside: Array, thick: float, is_open: bool) -> Array:
    """The inner wall from the lip down: all of it in open forms, the neck in closed ones."""
    step = np.gradient(outside, axis=0)
    step /= np.linalg.norm(step, axis=1, keepdims=True)
    inner = outside + np.stack([-step[:, 1], step[:, 0]], axis=1) * thick
    if is_open:
        floor = float(outside[0, 1]) + thick * 0.9
        keep = inner[:, 1] > floor
        inner = inner[keep][::-1]
        last = float(inner[-1, 0])
        floor_rows = np.linspace(last * 0.93, 0, 9)
        flat = np.stack([floor_rows, np.full(9, floor * 0.6 + 0.4 * inner[-1, 1])], axis=1)
        flat[:, 1] = floor - 0.15 * thick * np.linspace(0, 1, 9)
        return np.concatenate([inner, flat])
    depth = outside[-1, 1] - 0.8 * (outside[-1, 1] - outside[0, 1])
    inner = inner[inner[:, 1] > depth][::-1]
    bottom = np.array([[inner[-1, 0] * 0.5, inner[-1, 1]], [0.0, inner[-1, 1]]])
    return np.concatenate([inner, bottom])
