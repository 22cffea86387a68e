"""Turns an outline on the wheel: the whole section that follows from it, foot to inside."""

from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from training.data.rendering.shapes import Shape
from training.data.rendering.surface import Array, Zone


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
        # A wall that already stands almost upright would only grow a skirt.
        room = float(np.clip(2 * (1 - outside[0, 0]), 0, 1))
        outside[:, 0] *= 1 + (foot_width - 1) * room * blend
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
