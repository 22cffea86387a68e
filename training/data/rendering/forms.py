"""Whole vessels: a turned body with the parts joined to it, and modelled figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from training.data.rendering.parts import EXTRAS
from training.data.rendering.profiles import Profile, turn
from training.data.rendering.shapes import SHAPES, Shape
from training.data.rendering.surface import Array, Patch, Plan, Zone, ellipsoid, revolve, sweep


def lion(rng: Generator) -> list[Patch]:
    """A seated guardian lion or dog on a plinth."""
    k = float(rng.uniform(0.92, 1.1))
    base = _plinth(0.78, 0.16, 1.25)
    parts = [
        base,
        ellipsoid((-0.18, 0, 0.52), (0.5, 0.36, 0.4), 0.35, 0.5),
        ellipsoid((0.16, 0, 0.82 * k), (0.34, 0.32, 0.5 * k), 0.2, 0.5),
        ellipsoid((0.24, 0, 1.3 * k), (0.36, 0.36, 0.32), 0, 0.3),
        ellipsoid((0.46, 0, 1.34 * k), (0.26, 0.23, 0.23), 0, 0.3),
        ellipsoid((0.66, 0, 1.27 * k), (0.13, 0.15, 0.11), 0, 0.1),
        ellipsoid((-0.62, 0, 0.7), (0.14, 0.12, 0.34), -0.3, 0.1),
    ]
    for side in (-1, 1):
        leg = np.array(
            [[0.28, side * 0.2, 0.85], [0.4, side * 0.22, 0.5], [0.42, side * 0.22, 0.16]]
        )
        parts += [
            sweep(leg.repeat(3, 0) + _ramp(leg), np.linspace(0.15, 0.1, 9), 0.1),
            ellipsoid((0.5, side * 0.22, 0.22), (0.17, 0.12, 0.08), 0, 0.05),
            ellipsoid((-0.1, side * 0.32, 0.4), (0.32, 0.16, 0.28), 0, 0.15),
            ellipsoid((0.16, side * 0.35, 0.22), (0.22, 0.12, 0.08), 0, 0.05),
            ellipsoid((0.3, side * 0.25, 1.6 * k), (0.07, 0.09, 0.13), 0, 0.05),
        ]
    return parts


def horse(rng: Generator) -> list[Patch]:
    """A standing saddled horse."""
    parts = [
        _plinth(0.72, 0.08, 1.3),
        ellipsoid((0, 0, 0.98), (0.66, 0.29, 0.31), 0, 0.6),
        ellipsoid((0.46, 0, 1.04), (0.28, 0.27, 0.33), 0, 0.3),
        ellipsoid((-0.46, 0, 1.04), (0.28, 0.28, 0.32), 0, 0.3),
        ellipsoid((-0.02, 0, 1.24), (0.28, 0.27, 0.1), 0, 0.2),
        ellipsoid((0.98, 0, 1.66), (0.26, 0.11, 0.12), 0.75, 0.2),
    ]
    neck = np.array([[0.5, 0, 1.1], [0.68, 0, 1.4], [0.84, 0, 1.76]])
    parts.append(sweep(neck.repeat(4, 0) + _ramp(neck, 4), np.linspace(0.26, 0.13, 12), 0.2))
    tail = np.array([[-0.66, 0, 1.16], [-0.82, 0, 1.0], [-0.82, 0, 0.6]])
    parts.append(sweep(tail.repeat(3, 0) + _ramp(tail), np.linspace(0.07, 0.04, 9), 0.05))
    for x in (-0.46, 0.48):
        for side in (-1, 1):
            leg = np.array(
                [[x, side * 0.17, 0.9], [x + 0.02, side * 0.18, 0.5], [x, side * 0.18, 0.08]]
            )
            width = np.array([0.17, 0.15, 0.12, 0.09, 0.08, 0.075, 0.07, 0.075, 0.1])
            parts.append(sweep(leg.repeat(3, 0) + _ramp(leg), width, 0.1))
    for side in (-1, 1):
        parts.append(ellipsoid((0.84, side * 0.07, 1.9), (0.04, 0.03, 0.1), 0.2, 0.03))
    return parts


def attendant(rng: Generator) -> list[Patch]:
    """A standing attendant in a long robe with folded hands."""
    control = np.array([[0.5, 0], [0.47, 0.1], [0.4, 0.5], [0.33, 1.0], [0.31, 1.3], [0.36, 1.6],
                        [0.34, 1.74], [0.15, 1.86], [0.12, 1.95]])  # fmt: skip
    steps = np.linspace(0, len(control) - 1, 60)
    rows = np.stack([np.interp(steps, np.arange(len(control)), control[:, k]) for k in (0, 1)], 1)
    zones = np.full(60, Zone.OUTSIDE, np.int8)
    robe = revolve(
        rows.astype(np.float32), zones, Plan(lobes=11, depth=0.1, stretch=0.8), "model", 1.0
    )
    bun = float(rng.uniform(0.1, 0.2))
    parts = [
        _plinth(0.56, 0.1, 1.0),
        robe,
        ellipsoid((0, 0, 2.1), (0.19, 0.17, 0.22), 0, 0.2),
        ellipsoid((-0.03, 0, 2.24), (0.2, 0.21, 0.14), 0, 0.1),
        ellipsoid((-0.05, 0, 2.36 + bun / 2), (0.1, 0.13, bun), -0.2, 0.1),
        ellipsoid((0.34, 0, 1.36), (0.14, 0.2, 0.11), 0, 0.1),
        ellipsoid((0.19, 0, 2.08), (0.03, 0.03, 0.05), 0, 0.02),
    ]
    for side in (-1, 1):
        arm = np.array(
            [[0, side * 0.34, 1.64], [0.12, side * 0.42, 1.36], [0.34, side * 0.14, 1.36]]
        )
        parts.append(sweep(arm.repeat(4, 0) + _ramp(arm, 4), np.linspace(0.13, 0.15, 12), 0.15))
        sleeve = ellipsoid((0.26, side * 0.2, 1.1), (0.09, 0.1, 0.3), 0, 0.1)
        parts.append(sleeve)
    return parts


def _ramp(path: np.ndarray, repeat: int = 3) -> np.ndarray:
    """What turns repeated corner points into an even walk along the path."""
    count = len(path) * repeat
    steps = np.linspace(0, len(path) - 1, count)
    even = np.stack([np.interp(steps, np.arange(len(path)), path[:, k]) for k in range(3)], 1)
    difference: np.ndarray = even - path.repeat(repeat, 0)
    return difference


def _plinth(radius: float, height: float, stretch: float) -> Patch:
    rows = np.array([[0, 0.0], [radius * 0.98, 0], [radius, 0.015], [radius, height - 0.015],
                     [radius * 0.98, height], [0, height]], np.float32)  # fmt: skip
    zones = np.array([0, 1, 2, 2, 3, 3], np.int8)
    fine = np.linspace(0, 5, 26)
    smooth = np.stack([np.interp(fine, np.arange(6), rows[:, k]) for k in (0, 1)], 1)
    plan = Plan(power=5.0, stretch=stretch)
    return revolve(
        smooth.astype(np.float32), zones[fine.round().astype(int)], plan, "model", 0.2, 49
    )


MODELS: dict[str, Callable[[Generator], list[Patch]]] = {
    "figure_lion": lion,
    "figure_horse": horse,
    "figure_attendant": attendant,
}


@dataclass(frozen=True)
class Potting:
    """How a workshop throws: what a ware's row in the table says about its forms."""

    wall: float = 1.0
    foot_width: float = 1.0
    foot_height: float = 1.0
    wobble: float = 0.0
    lobes: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Vessel:
    """A finished piece standing on the ground at the origin.

    Attributes:
        type: the label, such as "bowl".
        shape: the outline's name in `SHAPES` or `MODELS`.
        patches: its surfaces, the body first.
        profile: the body's section, from which occlusion and shadows follow; None for figures.
    """

    type: str
    shape: str
    patches: tuple[Patch, ...]
    profile: Profile | None

    @property
    def points(self) -> Array:
        """Every vertex [n, 3]."""
        return np.concatenate([patch.points.reshape(-1, 3) for patch in self.patches])


def shape_names(type_name: str) -> list[str]:
    """The outlines that a type can take."""
    names = [name for name, shape in SHAPES.items() if shape.type == type_name]
    return names + [name for name in MODELS if type_name == "figure"]


def build(name: str, potting: Potting, rng: Generator) -> Vessel:
    """Makes one vessel.

    Args:
        name: a key of `SHAPES` or `MODELS`.
        potting: the workshop's proportions.
        rng: draws everything else.
    """
    if name in MODELS:
        return Vessel("figure", name, tuple(MODELS[name](rng)), None)
    shape = SHAPES[name]
    profile = turn(
        shape,
        rng,
        potting.wall * float(rng.uniform(0.9, 1.15)),
        potting.foot_width * float(rng.uniform(0.96, 1.04)),
        potting.foot_height * float(rng.uniform(0.85, 1.15)),
    )
    lobes = int(rng.choice(potting.lobes))
    fits = shape.type in ("bowl", "dish", "basin", "cup", "box") and "handle" not in str(
        shape.extras
    )
    plan = Plan(
        lobes=lobes if fits else 0,
        depth=float(rng.uniform(0.05, 0.09)),
        power=shape.power,
        stretch=float(rng.uniform(*shape.stretch)),
        wobble=potting.wobble * float(rng.uniform(0.3, 1.0)),
        turn=float(rng.uniform(0, 2 * np.pi)),
    )
    if "slab" in shape.extras:
        profile = _close(profile, shape)
    patches = [revolve(profile.rows, profile.zones, plan, "body", 1.0)]
    if shape.type == "pillow":
        patches[0] = _sag(patches[0], rng)
    for extra in shape.extras:
        if extra in EXTRAS:
            patches += EXTRAS[extra](profile, plan, rng)
    return _stand(Vessel(shape.type, name, tuple(patches), profile))


def _stand(vessel: Vessel) -> Vessel:
    """Sets the lowest point on the ground (legs lift the body)."""
    drop = -float(vessel.points[:, 2].min())
    if drop < 1e-3:
        return vessel
    patches = tuple(p.moved(np.eye(3, dtype=np.float32), (0, 0, drop)) for p in vessel.patches)
    profile = vessel.profile
    if profile is not None:
        lifted = profile.rows + np.array([0, drop], np.float32)
        profile = Profile(lifted, profile.zones, (profile.lip[0], profile.lip[1] + drop))
    return replace(vessel, patches=patches, profile=profile)


def _close(profile: Profile, shape: Shape) -> Profile:
    """Covers the top of a pillow or a stool with a slightly domed slab."""
    keep = profile.zones <= Zone.OUTSIDE
    rows, zones = profile.rows[keep], profile.zones[keep]
    radius, height = rows[-1]
    steps = np.linspace(0.97, 0, 24)
    dome = 0.04 if shape.type == "other" else 0.015
    top = np.stack([radius * steps, height + 0.012 + dome * (1 - steps**2)], axis=1)
    all_rows = np.concatenate([rows, top]).astype(np.float32)
    all_zones = np.concatenate([zones, np.full(len(top), Zone.INSIDE, np.int8)])
    return Profile(all_rows, all_zones, profile.lip)


def _sag(patch: Patch, rng: Generator) -> Patch:
    """Dips a pillow's top in the middle and slopes it to the front."""
    points = patch.points.copy()
    height = points[..., 2] / points[..., 2].max()
    reach = float(np.abs(points[..., 0]).max())
    dip = rng.uniform(0.08, 0.16) * (1 - (points[..., 0] / reach) ** 2)
    slope = rng.uniform(0.0, 0.14) * points[..., 1]
    points[..., 2] += (slope - dip) * height**3
    return replace(patch, points=points)
