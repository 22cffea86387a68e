"""Whole vessels: a turned body and the parts joined to it (spouts, handles, lugs, legs, lids)."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from training.data.rendering.figures import MODELS
from training.data.rendering.parts import EXTRAS
from training.data.rendering.profiles import Profile, turn
from training.data.rendering.shapes import SHAPES, Shape
from training.data.rendering.surface import Array, Patch, Plan, Zone, revolve


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
