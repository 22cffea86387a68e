"""One photograph: vessel, glaze, lamps, backdrop, camera, and the darkroom after."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy.ndimage import map_coordinates

from training.data.rendering.canvas import Canvas
from training.data.rendering.forms import Vessel
from training.data.rendering.glazes import Skin
from training.data.rendering.light import STUDIOS, ground_light, occlusion
from training.data.rendering.studio import studio
from training.data.rendering.surface import Array

# Near and far colour of the seamless paper, and which lamps go with it.
BACKDROPS: dict[str, tuple[str, float, tuple[float, float, float], tuple[float, float, float]]] = {
    "grey": ("grey", 0.42, (0.60, 0.60, 0.60), (0.36, 0.365, 0.37)),
    "grey_to_black": ("grey", 0.2, (0.46, 0.46, 0.47), (0.07, 0.07, 0.075)),
    "mauve": ("grey", 0.12, (0.58, 0.56, 0.58), (0.30, 0.285, 0.31)),
    "white": ("white", 0.1, (0.86, 0.86, 0.86), (0.79, 0.79, 0.80)),
    "tan": ("grey", 0.07, (0.66, 0.61, 0.53), (0.42, 0.37, 0.30)),
    "black": ("dark", 0.06, (0.12, 0.12, 0.13), (0.02, 0.02, 0.025)),
    "blue": ("dark", 0.03, (0.16, 0.19, 0.28), (0.05, 0.06, 0.11)),
}
# How far objects may be turned from the side view: what has a spout is shown from the side.
_SIDE_VIEW = {"ewer": 0.7, "cup": 0.8, "pillow": 0.75, "figure": 0.9, "censer": 0.5, "basin": 0.35}


@dataclass(frozen=True)
class View:
    """Where the camera and the lamps stand for one photograph."""

    backdrop: str
    elevation: float
    yaw: float
    turn: float
    angle: float
    fill: float
    exposure: float


def choose_view(kind: str, rng: Generator) -> View:
    """Draws a photographer's choices for one picture of an object."""
    names = list(BACKDROPS)
    shares = np.array([entry[1] for entry in BACKDROPS.values()])
    backdrop = str(rng.choice(names, p=shares / shares.sum()))
    low = {"dish": 14.0, "bowl": 9.0, "basin": 14.0, "box": 15.0, "pillow": 14.0}.get(kind, 5.0)
    elevation = low + float(rng.gamma(2.0, 4.0))
    if kind == "dish" and rng.random() < 0.3:
        elevation = float(rng.uniform(35, 62))
    swing = _SIDE_VIEW.get(kind, np.pi)
    yaw = float(rng.uniform(-swing, swing)) + (np.pi if rng.random() < 0.5 else 0.0)
    return View(
        backdrop=backdrop,
        elevation=min(elevation, 62.0),
        yaw=yaw,
        turn=float(rng.normal(0, 0.3)) + (1.15 if rng.random() < 0.3 else 0.0),
        angle=float(rng.uniform(11, 17)),
        fill=float(rng.uniform(0.62, 0.84)),
        exposure=float(rng.normal(0, 0.1)),
    )


def photograph(
    vessel: Vessel, canvas: Canvas, skin: Skin, view: View, size: int, rng: Generator
) -> Image.Image:
    """Takes the picture.

    Args:
        vessel: what stands on the paper.
        canvas: its texture layout.
        skin: its glaze.
        view: camera and lamps.
        size: width and height in pixels.
        rng: draws grain, softness and colour cast.
    """
    name, _, near, far = BACKDROPS[view.backdrop]
    lighting = STUDIOS[name]
    eye, aim = _camera(vessel, view)
    share = occlusion(canvas, lighting, view.turn, view.yaw)
    shot = studio(name, size * 2).shoot(
        canvas, skin, share, view.yaw, view.turn, eye, aim, view.angle
    )
    ground = _backdrop(vessel, view, eye, aim, near, far, size)
    return _develop(_over(shot, ground, size, skin.clear), view, rng)


def last_depth(view: View, size: int) -> Image.Image:
    """How near each point of the vessel is that `photograph` has just taken: white is nearest."""
    depth = studio(BACKDROPS[view.backdrop][0], size * 2).depth()
    vessel = depth < 1
    near, far = depth[vessel].min(), depth[vessel].max()
    # The farthest point of the vessel still stands out from the ground, which is black.
    nearness = np.where(vessel, 1 - 0.85 * (depth - near) / max(far - near, 1e-6), 0)
    image = Image.fromarray((nearness * 255 + 0.5).astype(np.uint8))
    return image.resize((size, size), Image.Resampling.BOX)


def _camera(
    vessel: Vessel, view: View
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Eye and aim such that the vessel fills the wanted part of the frame."""
    cos, sin = np.cos(view.yaw), np.sin(view.yaw)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    points = vessel.points[::7] @ turn.T
    lift = np.radians(view.elevation)
    back = np.array([0, -np.cos(lift), np.sin(lift)])
    up = np.array([0, np.sin(lift), np.cos(lift)])
    across, high = points[:, 0], points @ up
    middle = np.array([(across.max() + across.min()) / 2, (high.max() + high.min()) / 2])
    extent = max(float(np.ptp(across)), float(np.ptp(high)) * 1.06)
    distance = extent / view.fill / (2 * np.tan(np.radians(view.angle) / 2))
    # A little paper more below than above, as catalogues have it.
    middle[1] += extent / view.fill * 0.02
    depth = float((points @ back).mean())
    aim = np.array([middle[0], 0, 0]) + up * middle[1] + back * depth
    eye = aim + back * distance
    return (float(eye[0]), float(eye[1]), float(eye[2])), (
        float(aim[0]),
        float(aim[1]),
        float(aim[2]),
    )


def _backdrop(
    vessel: Vessel, view: View, eye: tuple[float, float, float], aim: tuple[float, float, float],
    near: tuple[float, float, float], far: tuple[float, float, float], size: int,
) -> Array:  # fmt: skip
    """Seamless paper with the vessel's shadow [size, size, 3], sRGB."""
    origin = np.array(eye)
    forward = np.array(aim) - origin
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    half = np.tan(np.radians(view.angle) / 2)
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(axis * half, -axis * half)
    rays = forward + x[..., None] * right + y[..., None] * up
    down = np.minimum(rays[..., 2], -1e-3)
    reach = np.clip(-origin[2] / down, 0, 200)
    ground_x, ground_y = origin[0] + reach * rays[..., 0], origin[1] + reach * rays[..., 1]
    span = float(np.abs(vessel.points[:, :2]).max()) * 1.5 + float(vessel.points[:, 2].max()) * 0.9
    shade = ground_light(vessel, view.yaw, STUDIOS[BACKDROPS[view.backdrop][0]], view.turn, span)
    row = (ground_y + span) / (2 * span) * len(shade) - 0.5
    column = (ground_x + span) / (2 * span) * len(shade) - 0.5
    shadow = map_coordinates(shade, [row, column], order=1, mode="nearest")
    fade = np.clip((span * 1.0 - np.hypot(ground_x, ground_y)) / (0.35 * span), 0, 1)
    shadow = 1 - (1 - shadow) * fade
    # The paper darkens towards the back as the lamps fall off.
    deep = np.clip((ground_y / span + 1.2) / 5.0, 0, 1)
    image_up = np.clip((1 - axis[::-1])[:, None] * 0 + (-axis[:, None] + 1) / 2, 0, 1)
    mix = np.clip(0.45 * deep + 0.55 * image_up**1.2, 0, 1)[..., None]
    paper = np.array(near) + (np.array(far) - np.array(near)) * mix
    side = 1 - 0.06 * np.sin(view.turn + 0.6) * axis[None, :, None]
    linear = np.clip(paper * side, 0, 1) ** 2.2 * np.clip(shadow, 0.02, 1)[..., None]
    backdrop: Array = (linear ** (1 / 2.2)).astype(np.float32)
    return backdrop


def _over(
    shot: NDArray[np.uint8], ground: Array, size: int, clear: tuple[float, float, float]
) -> Array:
    """Lays the vessel on the backdrop, smoothing its edges [size, size, 3].

    Of what is clear the shot holds the reflections, to which the ground behind is added.
    """
    # Pillow weighs by alpha while it reduces, so that the clear ground does not bleed in.
    small = np.asarray(Image.fromarray(shot).reduce(2), np.float32) / 255
    result: Array = ground + (small[..., :3] - ground) * small[..., 3:]
    if any(clear):
        result = result + ground * small[..., 3:] * np.asarray(clear, np.float32)
    return result


def _develop(picture: Array, view: View, rng: Generator) -> Image.Image:
    """Exposure, colour cast, lens falloff, softness and grain."""
    size = len(picture)
    cast = np.clip(
        rng.normal(0, 0.018, 3) + np.array([1, 0, -1]) * rng.normal(0, 0.012), -0.05, 0.05
    )
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    falloff = 1 - rng.uniform(0, 0.1) * (axis[:, None] ** 2 + axis[None] ** 2)[..., None]
    linear = np.clip(picture, 0, 1) ** 2.2 * 2**view.exposure * (1 + cast) * falloff
    tone = linear ** (1 / 2.2)
    contrast = rng.uniform(-0.05, 0.12)
    tone = tone + contrast * (tone - 0.5) * (1 - np.abs(2 * tone - 1))
    image = Image.fromarray((np.clip(tone, 0, 1) * 255 + 0.5).astype(np.uint8))
    softness = float(rng.uniform(-0.5, 0.6)) * size / 224
    if softness > 0.1:
        image = image.filter(ImageFilter.GaussianBlur(softness))
    elif softness < -0.1:
        image = image.filter(ImageFilter.UnsharpMask(1.0, int(50 * -softness), 2))
    grain = rng.normal(0, rng.uniform(0.1, 1.2), (size, size, 1))
    return Image.fromarray(np.clip(np.asarray(image) + grain + 0.5, 0, 255).astype(np.uint8))
