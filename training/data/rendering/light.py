"""Studio light: softboxes as an environment map, the shadow on the paper, and self-shadowing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from training.data.rendering.canvas import Canvas
from training.data.rendering.forms import Vessel
from training.data.rendering.profiles import Profile
from training.data.rendering.surface import Array


@dataclass(frozen=True)
class Softbox:
    """A rectangular lamp: direction to it, half width and height in radians, radiance."""

    direction: tuple[float, float, float]
    half: tuple[float, float]
    power: float


@dataclass(frozen=True)
class Lighting:
    """A studio's lamps; the camera looks along +y, z is up, the floor is below."""

    lamps: tuple[Softbox, ...]
    sky: float
    floor: float


STUDIOS: dict[str, Lighting] = {
    "grey": Lighting(
        (Softbox((-0.75, -0.45, 0.85), (0.42, 0.34), 9.0),
         Softbox((0.95, -0.25, 0.45), (0.22, 0.5), 2.2)),
        0.42, 0.28),
    "white": Lighting(
        (Softbox((-0.55, -0.5, 1.0), (0.6, 0.4), 4.6), Softbox((0.9, -0.3, 0.6), (0.35, 0.5), 3.0),
         Softbox((0.0, 0.5, 1.2), (0.7, 0.3), 2.5)),
        0.55, 0.5),
    "dark": Lighting(
        (Softbox((-0.8, -0.3, 0.75), (0.3, 0.42), 12.0),
         Softbox((0.9, 0.1, 0.7), (0.16, 0.6), 5.0)),
        0.22, 0.1),
}  # fmt: skip


def _unit(vector: tuple[float, float, float]) -> Array:
    array = np.asarray(vector, np.float32)
    unit: Array = array / np.linalg.norm(array)
    return unit


def radiance(lighting: Lighting, directions: Array) -> Array:
    """Light that arrives from each direction [..., 3], without units [...]."""
    up = directions[..., 2]
    light = np.where(up > 0, lighting.sky * (0.55 + 0.45 * up), lighting.floor * (0.75 - 0.25 * up))
    light = lighting.floor + (light - lighting.floor) * np.clip(up * 4 + 0.5, 0, 1)
    for lamp in lighting.lamps:
        centre = _unit(lamp.direction)
        side = np.cross([0, 0, 1.0], centre)
        side /= np.linalg.norm(side)
        lift = np.cross(centre, side)
        facing = directions @ centre
        a = np.arctan2(directions @ side, np.maximum(facing, 1e-3))
        b = np.arctan2(directions @ lift, np.maximum(facing, 1e-3))
        edge = np.minimum(lamp.half[0] - np.abs(a), lamp.half[1] - np.abs(b)) / 0.07
        falloff = 1 - 0.35 * np.clip(np.hypot(a / lamp.half[0], b / lamp.half[1]), 0, 1)
        light = light + lamp.power * np.clip(edge + 0.5, 0, 1) * (facing > 0) * falloff
    result: Array = light.astype(np.float32)
    return result


def environment(lighting: Lighting, height: int = 128) -> Array:
    """The lamps as an equirectangular picture [height, 2 height, 3], linear light.

    Rows run from the ground (-z) up, columns around z from -x through -y to +x and +y.
    """
    lift = (np.arange(height) + 0.5) / height * np.pi - np.pi / 2
    turn = (np.arange(2 * height) + 0.5) / (2 * height) * 2 * np.pi - np.pi
    around, up = np.meshgrid(turn, lift)
    directions = np.stack(
        [np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up)], -1
    ).astype(np.float32)
    light = radiance(lighting, directions)
    return np.repeat(light[..., None], 3, axis=2)


def lamp_samples(lighting: Lighting, turn: float, each: int) -> tuple[Array, Array]:
    """Directions spread over the lamps [n, 3] and the light of each [n], turned about z."""
    directions, weights = [], []
    for lamp in lighting.lamps:
        centre = _unit(lamp.direction)
        side = np.cross([0, 0, 1.0], centre)
        side /= np.linalg.norm(side)
        lift = np.cross(centre, side)
        index = np.arange(each) + 0.5
        a = (2 * ((index * 0.7549) % 1) - 1) * lamp.half[0]
        b = (2 * ((index * 0.5698) % 1) - 1) * lamp.half[1]
        spread = centre + np.tan(a)[:, None] * side + np.tan(b)[:, None] * lift
        directions.append(spread / np.linalg.norm(spread, axis=1, keepdims=True))
        area = 4 * lamp.half[0] * lamp.half[1]
        weights.append(np.full(each, lamp.power * area * 0.8 / each))
    cos, sin = np.cos(turn), np.sin(turn)
    matrix = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    every = np.concatenate(directions) @ matrix.T
    return every.astype(np.float32), np.concatenate(weights).astype(np.float32)


def dome_samples(count: int) -> Array:
    """Directions over the upper half, denser towards the top as a flat floor sees it [count, 3]."""
    index = np.arange(count) + 0.5
    up = np.sqrt(1 - index / count * 0.96)
    turn = index * 2.39996
    flat = np.sqrt(1 - up**2)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), up], 1).astype(np.float32)


def ground_light(
    vessel: Vessel, yaw: float, lighting: Lighting, turn: float, reach: float, size: int = 128
) -> Array:
    """The share of light that the ground keeps around the vessel [size, size].

    Args:
        vessel: stands at the middle.
        yaw: how far the vessel is turned about z.
        lighting: the studio.
        turn: how far the lamps are turned.
        reach: half the width of the square of ground, rows along +y, columns along +x.
        size: pixels across.
    """
    rings = _rings(vessel, yaw)
    lamps, power = lamp_samples(lighting, turn, 9)
    dome = dome_samples(18)
    even = np.full(len(dome), lighting.sky * np.pi / len(dome) * 1.6)
    weights = np.concatenate([power * lamps[:, 2], even])
    total = np.zeros((size, size), np.float32)
    to_pixel = size / (2 * reach)
    contact = _cast(rings[rings[..., 2].mean(axis=1) < 0.1], np.zeros(2), reach, size)
    for ray, weight in zip(np.concatenate([lamps, dome]), weights, strict=True):
        shift = -ray[:2] / max(float(ray[2]), 0.08)
        total += _cast(rings, shift, reach, size) * weight
    total = gaussian_filter(total, 1.3) / float(weights.sum())
    # Right beside the foot hardly any of the room's light comes in.
    near = gaussian_filter(contact, 0.07 * to_pixel)
    shade: Array = (1 - total) * (1 - 0.6 * near)
    return shade


def _cast(rings: Array, shift: Array, reach: float, size: int) -> Array:
    """The shadow of flat outlines under one direction of light [size, size], 0 or 1."""
    mask = Image.new("L", (size, size), 0)
    draw = ImageDraw.Draw(mask)
    flat = (rings[..., :2] + rings[..., 2:] * shift + reach) * (size / (2 * reach))
    for outline in flat.reshape(len(rings), 2 * rings.shape[1]).tolist():
        draw.polygon(outline, fill=1)
    return np.asarray(mask, np.float32)


def _rings(vessel: Vessel, yaw: float) -> Array:
    """The vessel's outline at many levels, corners of each [n, 16, 3]."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    matrix = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], np.float32)
    rings = []
    for patch in vessel.patches:
        many = 22 if patch.part == "body" else 7
        count = min(many, len(patch.points))
        picked = np.unique(np.linspace(0, len(patch.points) - 1, count).round().astype(int))
        around = np.linspace(0, patch.points.shape[1] - 1, 17)[:-1].round().astype(int)
        rings.append(patch.points[picked][:, around] @ matrix.T)
    return np.concatenate(rings).astype(np.float32)


def hits(section: Array, points: Array, rays: Array) -> Array:
    """Whether rays from points meet a turned surface.

    Args:
        section: radius and height of the outline's corners [s, 2].
        points: starting points [n, 3].
        rays: directions, the same for every point [d, 3], or each point's own [n, d, 3].

    Returns:
        1 where a ray meets the surface [n, d], else 0.
    """
    r1, r2 = section[:-1, 0], section[1:, 0]
    z1, z2 = section[:-1, 1], section[1:, 1]
    rise = np.where(np.abs(z2 - z1) < 2e-3, 2e-3, z2 - z1)
    slope = (r2 - r1) / rise
    low, high = np.minimum(z1, z1 + rise), np.maximum(z1, z1 + rise)
    rays = np.broadcast_to(rays, (len(points), *rays.shape[-2:]))[:, :, None]
    start = points[:, None, None]
    reach = r1 + slope * (start[..., 2] - z1)
    grow = slope * rays[..., 2]
    a = rays[..., 0] ** 2 + rays[..., 1] ** 2 - grow**2
    b = start[..., 0] * rays[..., 0] + start[..., 1] * rays[..., 1] - reach * grow
    c = start[..., 0] ** 2 + start[..., 1] ** 2 - reach**2
    a = np.where(np.abs(a) < 1e-6, 1e-6, a)
    root = b * b - a * c
    spread = np.sqrt(np.maximum(root, 0))
    met = np.zeros(root.shape, bool)
    for sign in (-1.0, 1.0):
        t = (-b + sign * spread) / a
        z = start[..., 2] + t * rays[..., 2]
        met |= (root > 0) & (t > 0.03) & (z >= low) & (z <= high)
    result: Array = np.any(met, axis=2).astype(np.float32)
    return result


def occlusion(canvas: Canvas, lighting: Lighting, turn: float, yaw: float) -> Array:
    """The share of its light that reaches each texel [height, width], bounces included.

    Args:
        canvas: the texture.
        lighting: the studio.
        turn: how far the lamps are turned about z.
        yaw: how far the vessel is turned about z.
    """
    share = np.ones((canvas.height, canvas.width), np.float32)
    profile = canvas.vessel.profile
    for strip in canvas.strips:
        rows = slice(strip.start, strip.stop)
        if strip.patch.part == "body" and profile is not None:
            share[rows] = _body_share(canvas, profile, lighting, turn, yaw, strip.v, rows)
        else:
            high = strip.patch.points[..., 2].mean(axis=1)
            low = 0.62 + 0.38 * np.clip(high / 0.5, 0, 1)
            fixed = low * (0.9 if strip.patch.part == "trim" else 1.0)
            share[rows] = np.interp(np.arange(rows.start, rows.stop), strip.v, fixed)[:, None]
    return share


def _body_share(
    canvas: Canvas, profile: Profile, lighting: Lighting, turn: float, yaw: float, v: Array,
    rows: slice,
) -> Array:  # fmt: skip
    """Traced shadow of a turned body on itself, interpolated to its texture rows."""
    outline = profile.rows
    picked = np.unique(np.linspace(0, len(outline) - 1, 44).round().astype(int))
    step = np.gradient(outline, axis=0)[picked]
    step = step / (np.linalg.norm(step, axis=1, keepdims=True) + 1e-9)
    facing = np.stack([step[:, 1], 0 * step[:, 0], -step[:, 0]], 1)
    points = np.stack([outline[picked, 0], 0 * picked, outline[picked, 1]], 1) + 0.012 * facing
    section = outline[np.unique(np.linspace(0, len(outline) - 1, 34).round().astype(int))]
    dome = np.concatenate([dome_samples(20), dome_samples(12) * [1, 1, -1]]).astype(np.float32)
    light = np.where(dome[:, 2] > 0, lighting.sky, lighting.floor)
    cosine = np.maximum(facing @ dome.T, 0) * light
    open_sky = cosine.sum(1) * 2 * np.pi / 32
    seen_sky = (cosine * (1 - hits(section, points, dome))).sum(1) * 2 * np.pi / 32
    lamps, power = lamp_samples(lighting, turn, 5)
    angles = np.linspace(0, 2 * np.pi, 17)[:-1]
    cos, sin = np.cos(angles), np.sin(angles)
    # A point at angle a under a lamp is the point at 0 under the lamp turned by -a.
    turned = np.stack([
        cos[:, None] * lamps[:, 0] + sin[:, None] * lamps[:, 1],
        -sin[:, None] * lamps[:, 0] + cos[:, None] * lamps[:, 1],
        np.broadcast_to(lamps[:, 2], (len(angles), len(lamps))),
    ], -1).reshape(-1, 3).astype(np.float32)  # fmt: skip
    shadow = hits(section, points, turned).reshape(len(points), len(angles), len(lamps))
    direct = np.maximum(np.einsum("nc,mc->nm", facing, turned), 0)
    direct = direct.reshape(shadow.shape) * power
    open_all = open_sky[:, None] + direct.sum(2) + 0.02
    seen_all = seen_sky[:, None] + (direct * (1 - shadow)).sum(2)
    # Light that the wall keeps from one place mostly reaches it from another.
    part = seen_all / open_all
    part = part + 0.25 * (1 - part) * part.mean()
    at = np.interp(np.arange(rows.start, rows.stop), v[picked], np.arange(len(picked)))
    column = ((canvas.u[0] * 2 * np.pi + yaw) % (2 * np.pi)) / (2 * np.pi) * len(angles)
    grid = np.concatenate([part, part[:, :1]], 1)
    low = np.minimum(at.astype(int), len(picked) - 2)
    tall = grid[low] + (grid[low + 1] - grid[low]) * (at - low)[:, None]
    left = column.astype(int) % len(angles)
    wide: Array = tall[:, left] + (tall[:, left + 1] - tall[:, left]) * (column - left)
    return np.clip(wide, 0.04, 1).astype(np.float32)
