"""What is joined to a turned body: handles, spouts, lugs, legs, ears, lids."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.random import Generator

from training.data.rendering.profiles import Profile
from training.data.rendering.surface import Array, Patch, Plan, Zone, ellipsoid, revolve, sweep


def _curve(points: list[tuple[float, float, float]], count: int) -> Array:
    """A smooth path through control points [count, 3] (Catmull-Rom)."""
    control = np.asarray(points, np.float64)
    padded = np.concatenate(
        [[2 * control[0] - control[1]], control, [2 * control[-1] - control[-2]]]
    )
    position = np.linspace(0, len(control) - 1 - 1e-6, count)
    index = position.astype(int)
    t = (position - index)[:, None]
    a, b, c, d = (padded[index + k] for k in range(4))
    bend = 2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2
    curve: Array = 0.5 * (bend + (3 * b - a - 3 * c + d) * t**3)
    return curve


def _span(profile: Profile, low: float, high: float) -> tuple[float, float, float, float]:
    """Radius and height at two fractions of the body's height (foot 0, lip 1)."""
    bottom, top = float(profile.rows[:, 1].min()), profile.lip[1]
    z_low, z_high = bottom + low * (top - bottom), bottom + high * (top - bottom)
    return profile.radius_at(z_low), z_low, profile.radius_at(z_high), z_high


def _handle(profile: Profile, low: float, high: float, reach: float, side: float) -> Patch:
    r_low, z_low, r_high, z_high = _span(profile, low, high)
    out = max(r_low, r_high) + reach
    path = _curve(
        [
            (side * (r_high - 0.04), 0, z_high),
            (side * (r_high + 0.5 * (out - r_high)), 0, z_high + 0.1 * (z_high - z_low)),
            (side * out, 0, z_high - 0.2 * (z_high - z_low)),
            (side * (0.4 * r_low + 0.6 * out), 0, z_low + 0.25 * (z_high - z_low)),
            (side * (r_low - 0.04), 0, z_low),
        ],
        29,
    )
    return sweep(path, np.full(len(path), 0.055), flatness=1.6)


def _strap_handle(profile: Profile, plan: Plan, rng: Generator) -> list[Patch]:
    return [_handle(profile, rng.uniform(0.45, 0.55), rng.uniform(0.84, 0.95), 0.22, -1.0)]


def _loop_handle(profile: Profile, plan: Plan, rng: Generator) -> list[Patch]:
    return [_handle(profile, 0.25, 0.75, 0.42, -1.0)]


def _ring_handle(profile: Profile, plan: Plan, rng: Generator) -> list[Patch]:
    return [_handle(profile, 0.35, 0.75, 0.34, 1.0)]


def _side_handles(profile: Profile, plan: Plan, rng: Generator) -> list[Patch]:
    return [_handle(profile, 0.3, 0.75, 0.2, side) for side in (-1.0, 1.0)]


def _spout(
    profile: Profile, low: float, tip: tuple[float, float], thick: tuple[float, float]
) -> Patch:
    radius, height, _, _ = _span(profile, low, low)
    out, top = tip
    path = _curve(
        [
            (radius - 0.12, 0, height),
            (radius + 0.3 * out, 0, height + 0.12 * (top - height)),
            (radius + 0.6 * out, 0, height + 0.6 * (top - height)),
            (radius + out, 0, top),
        ],
        25,
    )
    return sweep(path, np.linspace(thick[0], thick[1], 25), share=0.14)


def _long_spout(profile: Profile, plan: Plan, rng: Generator) -> list[Patch]:
    top = profile.lip[1] * rng.uniform(0.78, 0.92)
    spout = _spout(profile, 0.28, (rng.uniform(0.5, 0.7), top), (0.16, 0.055))
    return [spout]


def _teapot_spout(profile: Profile, plan: Plan, rng: Generator) -> list[Patch]:
    return [_spout(profile, 0.42, (rng.uniform(0.45, 0.6), profile.lip[1] * 0.97), (0.17, 0.06))]


def _short_spout(profile: Profile, plan: Plan, rng: Generator) -> list[Patch]:
    radius, height, _, _ = _span(profile, 0.66, 0.66)
    path = _curve([(radius - 0.2, 0, height - 0.05), (radius + 0.1, 0, height + 0.1),
                   (radius + 0.22, 0, height + 0.24)], 15)  # fmt: skip
    return [sweep(path, np.linspace(0.15, 0.11, 15), share=0.1)]


def _bulb_spout(profile: Profile, plan: Plan, rng: Generator) -> list[Patch]:
    radius, height, _, _ = _span(profile, 0.36, 0.36)
    path = _curve([(radius - 0.2, 0, height), (radius + 0.16, 0, height + 0.16),
                   (radius + 0.42, 0, height + 0.5)], 21)  # fmt: skip
    width = 0.17 * np.exp(-(((np.linspace(0, 1, 21) - 0.42) / 0.26) ** 2)) + 0.085
    return [sweep(path, width, share=0.14)]


def _chicken_spout(profile: Profile, plan: Plan, rng: Generator) -> list[Patch]:
    radius, height, _, _ = _span(profile, 0.62, 0.62)
    head = ellipsoid((radius + 0.12, 0, height + 0.2), (0.12, 0.09, 0.12), share=0.05, part="trim")
    comb = ellipsoid((radius + 0.1, 0, height + 0.33), (0.08, 0.03, 0.07), share=0.03, part="trim")
    neck = sweep(
        _curve([(radius - 0.15, 0, height), (radius + 0.05, 0, height + 0.1),
                (radius + 0.1, 0, height + 0.2)], 9), np.full(9, 0.1), share=0.05)  # fmt: skip
    beak = sweep(
        np.array([[radius + 0.15, 0, height + 0.2], [radius + 0.3, 0, height + 0.22]]).repeat(2, 0)
        + np.linspace(0, 0.01, 4)[:, None],
        np.array([0.06, 0.06, 0.05, 0.05]), share=0.03)  # fmt: skip
    return [neck, head, comb, beak]


def _lugs(profile: Profile, plan: Plan, rng: Generator) -> list[Patch]:
    count = int(rng.choice([2, 4, 4, 6]))
    radius, height, _, _ = _span(profile, 0.8, 0.8)
    size = float(rng.uniform(0.1, 0.15))
    turns = np.linspace(0.1, np.pi - 0.1, 15)
    lugs = []
    for index in range(count):
        angle = 2 * np.pi * (index + 0.3) / count
        out = np.array([np.cos(angle), np.sin(angle), 0])
        around = np.array([-np.sin(angle), np.cos(angle), 0])
        axis = around if count != 2 else np.array([0, 0, 1.0])
        path = (
            out * (radius - 0.03)
            + np.array([0, 0, height])
            + np.cos(turns)[:, None] * axis * size
            + np.sin(turns)[:, None] * (out * 0.8 + [0, 0, 0.6]) * size * 1.05
        )
        lugs.append(sweep(path, np.full(15, 0.036), share=0.04))
    return lugs


def _legs(profile: Profile, length: float, thick: float, radius: float) -> list[Patch]:
    legs = []
    height = float(profile.rows[:, 1].min()) + 0.12
    for index in range(3):
        angle = -np.pi / 2 + 2 * np.pi * (index + 0.02) / 3
        out = np.array([np.cos(angle), np.sin(angle), 0])
        steps = np.linspace(0, 1, 19)
        path = out * (radius + 0.14 * np.sin(steps * np.pi * 0.9))[:, None]
        path = path + np.stack([0 * steps, 0 * steps, height + 0.06 - steps * (length + 0.06)], 1)
        bulge = 1.15 - 0.75 * np.sin(steps * np.pi * 0.8) ** 2 * 0.8 + 0.25 * (steps > 0.85)
        bulge[-1] = 0.05
        legs.append(sweep(path, thick * bulge, share=0.05))
    return legs


def _three_legs(profile: Profile, plan: Plan, rng: Generator) -> list[Patch]:
    return _legs(profile, rng.uniform(0.42, 0.6), 0.15, 0.62)


def _three_feet(profile: Profile, plan: Plan, rng: Generator) -> list[Patch]:
    return _legs(profile, rng.uniform(0.26, 0.34), 0.14, 0.84)


def _low_feet(profile: Profile, plan: Plan, rng: Generator) -> list[Patch]:
    feet = []
    for angle in (0.55, np.pi - 0.55, np.pi + 0.55, -0.55):
        spot = (0.8 * plan.stretch * float(np.cos(angle)), 0.8 * float(np.sin(angle)), -0.04)
        feet.append(ellipsoid(spot, (0.16, 0.12, 0.1), share=0.03, part="trim"))
    return feet


def _ears(profile: Profile, plan: Plan, rng: Generator) -> list[Patch]:
    radius, height = profile.lip
    ears = []
    for side in (-1.0, 1.0):
        path = _curve([(side * (radius - 0.06), -0.17, height - 0.03),
                       (side * (radius - 0.02), -0.17, height + 0.26),
                       (side * (radius - 0.02), 0.17, height + 0.26),
                       (side * (radius - 0.06), 0.17, height - 0.03)], 27)  # fmt: skip
        ears.append(sweep(path, np.full(27, 0.05), share=0.05))
    return ears


def _cap(radius: float, height: float, rise: float, knob: str, plan: Plan) -> list[Patch]:
    """A lid that sits on a mouth: a short wall, a dome, a knob."""
    steps = np.linspace(0, 1, 26)
    dome = np.stack(
        [radius * np.cos(steps * np.pi / 2) ** 0.75, rise * np.sin(steps * np.pi / 2)], 1
    )
    wall = np.array([[radius * 0.97, -0.1 * radius], [radius, -0.09 * radius], [radius, -0.02]])
    rows = np.concatenate([wall, dome])
    rows[:, 1] += height
    rows[-1, 0] = 0.0
    zones = np.full(len(rows), Zone.OUTSIDE, np.int8)
    lid = revolve(rows.astype(np.float32), zones, plan, "lid", 0.3)
    if knob == "none":
        return [lid]
    size = 0.16 * radius
    tall = 1.5 if knob == "bud" else 0.8
    bud = ellipsoid((0, 0, height + rise + size * tall * 0.7), (size, size, size * tall),
                    share=0.04, part="trim")  # fmt: skip
    return [lid, bud]


def _lid(profile: Profile, plan: Plan, rng: Generator) -> list[Patch]:
    radius, height = profile.lip
    knob = str(rng.choice(["bud", "ball", "ball"]))
    rise = radius * rng.uniform(0.3, 0.6)
    return _cap(radius * 1.06 + 0.02, height + 0.1 * radius, rise, knob, Plan(wobble=plan.wobble))


def _cover(profile: Profile, plan: Plan, rng: Generator) -> list[Patch]:
    radius, height = profile.lip
    wall = rng.uniform(0.16, 0.24)
    rows = [[radius * 0.96, -0.004], [radius, 0.008], [radius * 1.005, wall * 0.5],
            [radius * 0.995, wall], [radius * 0.95, wall + 0.05]]  # fmt: skip
    dome = np.linspace(0.92, 0, 24)
    rise = rng.uniform(0.03, 0.12)
    top = np.stack([radius * dome, wall + 0.06 + rise * (1 - dome**2)], 1)
    section = np.concatenate([np.array(rows), top]).astype(np.float32)
    section[:, 1] += height + 0.012
    zones = np.full(len(section), Zone.OUTSIDE, np.int8)
    zones[5:] = Zone.INSIDE
    if plan.lobes:
        plan = replace(plan, depth=plan.depth * 0.7)
    return [revolve(section, zones, plan, "lid", 0.7)]


def _stand_cup(profile: Profile, plan: Plan, rng: Generator) -> list[Patch]:
    floor = float(profile.rows[-1, 1])
    tall = rng.uniform(0.35, 0.5)
    outer = np.array([[0.36, 0], [0.4, 0.3], [0.47, 0.7], [0.5, 1.0]])
    inner = outer[::-1] - [0.04, 0]
    rows = np.concatenate([outer, [[0.48, 1.03]], inner, [[0.0, 0.0]]]) * [1, tall] + [0, floor]
    fine = np.interp(np.linspace(0, 9, 40), np.arange(10), rows[:, 0])
    high = np.interp(np.linspace(0, 9, 40), np.arange(10), rows[:, 1])
    zones = np.full(40, Zone.OUTSIDE, np.int8)
    zones[22:] = Zone.INSIDE
    return [revolve(np.stack([fine, high], 1).astype(np.float32), zones, plan, "lid", 0.4)]


EXTRAS: dict[str, Callable[[Profile, Plan, Generator], list[Patch]]] = {
    "strap_handle": _strap_handle,
    "loop_handle": _loop_handle,
    "ring_handle": _ring_handle,
    "side_handles": _side_handles,
    "long_spout": _long_spout,
    "spout": _teapot_spout,
    "short_spout": _short_spout,
    "bulb_spout": _bulb_spout,
    "chicken_spout": _chicken_spout,
    "lugs": _lugs,
    "three_legs": _three_legs,
    "three_feet": _three_feet,
    "low_feet": _low_feet,
    "ears": _ears,
    "lid": _lid,
    "cover": _cover,
    "stand_cup": _stand_cup,
}
