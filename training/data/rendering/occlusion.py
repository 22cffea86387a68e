"""What a vessel keeps of the light from itself, traced through its turned outline."""

import numpy as np

from training.data.rendering.canvas import Canvas
from training.data.rendering.light import Lighting, dome_samples, lamp_samples
from training.data.rendering.profiles import Profile
from training.data.rendering.surface import Array


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
    return met.any(axis=2).astype(np.float32)


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
