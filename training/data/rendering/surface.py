"""Grids of surface: what every vessel is made of.

A vessel is a list of `Patch` grids, whose rows run along a profile (or the path of a tube) and
whose columns run around it. One texture strip belongs to each patch, so a glaze only has to know
what each row of the strip is: foot ring, outside, rim, inside.
"""

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
"""Single precision, but for what is only passed on."""


class Zone(IntEnum):
    """What a row of a patch is on the vessel."""

    BASE = 0
    RING = 1
    FOOT = 2
    OUTSIDE = 3
    RIM = 4
    INSIDE = 5


@dataclass(frozen=True)
class Patch:
    """One grid of surface, wrapped around in its columns (first and last column coincide).

    Attributes:
        points: positions [rows, columns, 3], z up, the ground at z = 0.
        zones: `Zone` of each row [rows].
        part: "body", "lid", "trim" (handles, lugs, feet, spouts) or "model" (figures).
        share: how much of the texture's height the patch asks for, relative to the others.
    """

    points: Array
    zones: NDArray[np.int8]
    part: str
    share: float

    @property
    def lengths(self) -> Array:
        """Length along the profile at each row [rows], starting at 0."""
        steps = np.linalg.norm(np.diff(self.points, axis=0), axis=2).mean(axis=1)
        return np.concatenate([[0.0], np.cumsum(steps)]).astype(np.float32)

    @property
    def radii(self) -> Array:
        """Mean distance of each row from the row's own centre [rows]."""
        centre = self.points[:, :-1].mean(axis=1, keepdims=True)
        radii: Array = np.linalg.norm(self.points[:, :-1] - centre, axis=2).mean(axis=1)
        return radii

    def moved(self, matrix: Array, offset: tuple[float, float, float]) -> "Patch":
        """The patch with every point turned by `matrix` [3, 3] and shifted by `offset`."""
        turned = self.points @ matrix.T + np.asarray(offset, np.float32)
        return replace(self, points=turned.astype(np.float32))


@dataclass(frozen=True)
class Plan:
    """The outline seen from above, as a factor on the radius.

    Attributes:
        lobes: number of petals, 0 for a round vessel.
        depth: how deep the petals' notches cut, as a part of the radius.
        power: 2 is round, 4 and more nearly square (a superellipse).
        stretch: width over depth; 1.4 is an oval basin or a pillow.
        wobble: unevenness of hand throwing, as a part of the radius.
    """

    lobes: int = 0
    depth: float = 0.0
    power: float = 2.0
    stretch: float = 1.0
    wobble: float = 0.0
    turn: float = 0.0


def revolve(
    profile: Array, zones: NDArray[np.int8], plan: Plan, part: str, share: float, columns: int = 97
) -> Patch:
    """Turns a profile on the wheel.

    Args:
        profile: radius and height of each row [rows, 2], from the middle of the base up the
            outside, over the rim and down the inside.
        zones: the zone of each row [rows].
        plan: the outline seen from above.
        part: see `Patch`.
        share: see `Patch`.
        columns: number of columns, the last one coinciding with the first.
    """
    angle = np.linspace(0, 2 * np.pi, columns)
    factor = np.ones(columns)
    if plan.power != 2.0:
        corner = np.abs(np.cos(angle)) ** plan.power + np.abs(np.sin(angle)) ** plan.power
        factor = factor * corner ** (-1 / plan.power)
    radius, height = profile[:, :1], profile[:, 1:]
    if plan.lobes:
        scallop = np.abs(np.cos(angle * plan.lobes / 2)) ** 0.7
        reach = np.clip(height / max(float(height.max()), 1e-6) * 1.6 - 0.2, 0, 1)
        factor = factor[None] * (1 - plan.depth * reach * (1 - scallop[None]))
    spread = 1 + plan.wobble * np.cos(2 * angle + plan.turn)[None]
    ring = radius * factor * spread
    lift = 1 + 0.3 * plan.wobble * np.sin(2 * angle + 2 * plan.turn)[None]
    points = np.stack(
        [ring * np.cos(angle) * plan.stretch, ring * np.sin(angle), height * lift], axis=-1
    )
    points[:, -1] = points[:, 0]
    return Patch(points.astype(np.float32), zones, part, share)


def sweep(
    path: Array, radius: Array, share: float = 0.1, flatness: float = 1.0, columns: int = 17
) -> Patch:
    """A tube along a path: handles, spouts, lugs.

    Args:
        path: the middle line [rows, 3].
        radius: half thickness at each row [rows].
        share: see `Patch`.
        flatness: width over thickness; 2 is a strap handle.
        columns: number of columns around.
    """
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    side = np.zeros_like(tangent)
    across = np.cross(tangent[0], [0.3, 0.2, 1.0])
    if abs(tangent[0, 1]) < 0.5:
        across = np.array([0.0, 1.0, 0.0])
    for row, direction in enumerate(tangent):
        across = across - direction * (across @ direction)
        across /= np.linalg.norm(across) + 1e-9
        side[row] = across
    other = np.cross(tangent, side)
    angle = np.linspace(0, 2 * np.pi, columns)
    wide = (flatness * radius)[:, None, None] * np.cos(angle)[None, :, None] * side[:, None]
    thin = radius[:, None, None] * np.sin(angle)[None, :, None] * other[:, None]
    points = path[:, None] + wide + thin
    points[:, -1] = points[:, 0]
    zones = np.full(len(path), Zone.OUTSIDE, np.int8)
    return Patch(points.astype(np.float32)[:, ::-1], zones, "trim", share)


def ellipsoid(
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
    lean: float = 0.0,
    share: float = 0.2,
    part: str = "model",
) -> Patch:
    """A blob: figures' limbs, knobs, feet. `lean` tips it about the y axis, in radians."""
    along = np.linspace(0.02, np.pi - 0.02, 25)
    profile = np.stack([np.sin(along), -np.cos(along)], axis=1).astype(np.float32)
    zones = np.full(len(along), Zone.OUTSIDE, np.int8)
    patch = revolve(profile, zones, Plan(), part, share, columns=33)
    scaled = replace(patch, points=patch.points * np.asarray(radii, np.float32))
    cos, sin = np.cos(lean), np.sin(lean)
    turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]], np.float32)
    return scaled.moved(turn, centre)


def normals_of(patch: Patch) -> tuple[Array, Array]:
    """Outward normals and around-the-wheel tangents of a patch, each [rows, columns, 3]."""
    points = patch.points.astype(np.float64)
    around = np.empty_like(points)
    around[:, 1:-1] = points[:, 2:] - points[:, :-2]
    around[:, 0] = around[:, -1] = points[:, 1] - points[:, -2]
    along = np.gradient(points, axis=0)
    normal = np.cross(around, along)
    length = np.linalg.norm(normal, axis=2, keepdims=True)
    # Rounding leaves a closed middle not quite a point: judge by a length far below any cell's.
    weak = length[..., 0] < 1e-6
    normal = normal / np.maximum(length, 1e-12)
    if weak.any():
        mean = normal.sum(axis=1, keepdims=True)
        near = np.where(np.arange(len(mean)) < len(mean) // 2, 1, -1)
        for row in np.flatnonzero(weak.any(axis=1)):
            source = int(np.clip(row + near[row], 0, len(mean) - 1))
            vector = mean[source, 0] / (np.linalg.norm(mean[source, 0]) + 1e-12)
            normal[row, weak[row]] = vector
    size = np.linalg.norm(around, axis=2, keepdims=True)
    tangent = np.where(size > 1e-6, around / np.maximum(size, 1e-12), [1.0, 0.0, 0.0])
    return normal.astype(np.float32), tangent.astype(np.float32)
