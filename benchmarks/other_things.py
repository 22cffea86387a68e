"""Pictures of things that are not Chinese ceramics: rendered, drawn, and found in packages.

Rendered ones use the porcelain renderer's lamps and grounds' colours, so that what differs is the
thing itself and not the studio.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps, UnidentifiedImageError
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkPoints, vtkUnsignedCharArray
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
from vtkmodules.vtkFiltersCore import vtkPolyDataNormals
from vtkmodules.vtkFiltersModeling import vtkRotationalExtrusionFilter
from vtkmodules.vtkFiltersSources import vtkSphereSource
from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper, vtkRenderWindow
from vtkmodules.vtkRenderingOpenGL2 import vtkOpenGLRenderer

from training.data.rendering.light import STUDIOS
from training.data.rendering.studio import _environment_texture

SIZE = 320
LEAST_SIDE = 150
"""Smaller pictures of packages are buttons and arrows, which nobody takes for a photograph."""

Actors = list[vtkActor]
Picture = Image.Image


def _actor(source: vtkPolyDataNormals | vtkSphereSource, colour: NDArray[np.float64]) -> vtkActor:
    mapper = vtkPolyDataMapper()
    mapper.SetInputConnection(source.GetOutputPort())
    actor = vtkActor()
    actor.SetMapper(mapper)
    material = actor.GetProperty()
    material.SetInterpolationToPBR()
    material.SetColor(*np.clip(colour, 0, 1))
    material.SetMetallic(0.0)
    return actor


def _turned(radii: NDArray[np.float64], colour: NDArray[np.float64]) -> vtkActor:
    """A vessel of the wheel: its radius from foot to lip, 2 units high."""
    points, line = vtkPoints(), vtkCellArray()
    outline = [(0.0, -1.0), *zip(radii, np.linspace(-1, 1, len(radii)), strict=True)]
    line.InsertNextCell(len(outline))
    for x, z in outline:
        line.InsertCellPoint(points.InsertNextPoint(float(x), 0.0, float(z)))
    profile = vtkPolyData()
    profile.SetPoints(points)
    profile.SetLines(line)
    lathe = vtkRotationalExtrusionFilter()
    lathe.SetResolution(96)
    lathe.SetInputData(profile)
    smooth = vtkPolyDataNormals()
    smooth.SetInputConnection(lathe.GetOutputPort())
    return _actor(smooth, colour)


def _ball(
    centre: tuple[float, float, float],
    scale: tuple[float, float, float],
    colour: NDArray[np.float64],
) -> vtkActor:
    sphere = vtkSphereSource()
    sphere.SetThetaResolution(64)
    sphere.SetPhiResolution(64)
    sphere.SetRadius(1.0)
    actor = _actor(sphere, colour)
    actor.SetPosition(*centre)
    actor.SetScale(*scale)
    return actor


def _profile(rng: Generator) -> NDArray[np.float64]:
    knots = rng.uniform(0.35, 0.95, 4)
    heights = np.linspace(0, 1, 60)
    coarse = np.interp(heights, np.linspace(0, 1, 4), knots)
    radii: NDArray[np.float64] = np.convolve(np.pad(coarse, 8, "edge"), np.ones(17) / 17, "valid")
    return radii


def metal_pot(rng: Generator) -> Actors:
    """A pot of copper, brass, iron or steel."""
    colours = np.array([[0.9, 0.55, 0.4], [0.85, 0.7, 0.35], [0.3, 0.3, 0.32], [0.8, 0.8, 0.82]])
    pot = _turned(_profile(rng), colours[rng.integers(len(colours))])
    pot.GetProperty().SetMetallic(1.0)
    pot.GetProperty().SetRoughness(float(rng.uniform(0.12, 0.5)))
    return [pot]


def glass(rng: Generator) -> Actors:
    """A clear or tinted glass vessel."""
    pot = _turned(_profile(rng), np.array([0.85, 0.95, 1.0]) - rng.uniform(0, 0.4, 3))
    pot.GetProperty().SetOpacity(float(rng.uniform(0.2, 0.45)))
    pot.GetProperty().SetRoughness(0.03)
    return [pot]


def fruit(rng: Generator) -> Actors:
    """One to four round fruits, each with its stalk."""
    colours = np.array([[0.8, 0.1, 0.1], [0.95, 0.55, 0.1], [0.5, 0.7, 0.15], [0.35, 0.1, 0.35]])
    things = []
    for place in range(int(rng.integers(1, 5))):
        centre = (1.1 * (place - 1) * float(rng.uniform(0.6, 1)), float(rng.normal(0, 0.3)), -0.2)
        colour = colours[rng.integers(len(colours))] + rng.normal(0, 0.05, 3)
        size = float(rng.uniform(0.5, 0.7))
        body = _ball(centre, (size, size, size * float(rng.uniform(0.85, 1.1))), colour)
        body.GetProperty().SetRoughness(float(rng.uniform(0.3, 0.6)))
        stalk = (centre[0], centre[1], centre[2] + size)
        things += [body, _ball(stalk, (0.04, 0.04, 0.2), np.array([0.3, 0.2, 0.1]))]
    return things


def face(rng: Generator) -> Actors:
    """A head with hair, eyes, nose and mouth."""
    skin = np.array([0.85, 0.65, 0.5]) * rng.uniform(0.4, 1.1)
    dark, white = np.array([0.12, 0.08, 0.05]), np.array([0.95, 0.95, 0.95])
    head = [
        _ball((0, 0, 0), (0.75, 0.8, 1.0), skin),
        _ball((0, 0.15, 0.25), (0.82, 0.8, 0.9), dark * rng.uniform(0.5, 4)),
        _ball((0, -0.8, -0.1), (0.12, 0.16, 0.2), skin * 0.95),
        _ball((0, -0.7, -0.5), (0.25, 0.08, 0.06), np.array([0.7, 0.25, 0.25])),
    ]
    for side in (-0.28, 0.28):
        head.append(_ball((side, -0.7, 0.15), (0.13, 0.1, 0.08), white))
        head.append(_ball((side, -0.79, 0.15), (0.05, 0.04, 0.05), dark))
    for part in head:
        part.GetProperty().SetRoughness(0.55)
    return head


@lru_cache(maxsize=8)
def _studio(name: str) -> tuple[vtkRenderWindow, vtkOpenGLRenderer]:
    """A window lit by one of the porcelain renderer's studios; slow to make."""
    window = vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(0)
    window.SetSize(SIZE, SIZE)
    renderer = vtkOpenGLRenderer()
    window.AddRenderer(renderer)
    renderer.UseImageBasedLightingOn()
    renderer.UseSphericalHarmonicsOn()
    renderer.GetEnvMapPrefiltered().SetPrefilterMaxSamples(64)
    renderer.GetEnvMapLookupTable().SetLUTSize(128)
    renderer.GetEnvMapLookupTable().SetLUTSamples(256)
    renderer.SetEnvironmentTexture(_environment_texture(name), False)
    renderer.SetEnvironmentUp(0, 0, 1)
    return window, renderer


def photograph(actors: Actors, rng: Generator) -> Picture:
    """The things under one of the porcelain renderer's studios, on a plain ground."""
    window, renderer = _studio(str(rng.choice(sorted(STUDIOS)[:2])))
    renderer.SetBackground(*np.clip(rng.uniform(0.05, 0.95) + rng.normal(0, 0.04, 3), 0, 1))
    for actor in actors:
        renderer.AddActor(actor)
    camera = renderer.GetActiveCamera()
    camera.SetPosition(float(rng.normal(0, 0.6)), -4, float(rng.uniform(0.3, 1.8)))
    camera.SetFocalPoint(0, 0, 0)
    camera.SetViewUp(0, 0, 1)
    camera.SetViewAngle(30)
    renderer.ResetCamera()
    camera.Zoom(float(rng.uniform(1.0, 1.4)))
    window.Render()
    shot = vtkUnsignedCharArray()
    window.GetRGBACharPixelData(0, 0, SIZE - 1, SIZE - 1, 0, shot)
    pixels = vtk_to_numpy(shot).reshape(SIZE, SIZE, 4)[::-1, :, :3].copy()
    for actor in actors:
        renderer.RemoveActor(actor)
    return Image.fromarray(pixels)


def wall(rng: Generator) -> Picture:
    """A blank wall: one colour, a fall of light, grain."""
    ramp = np.linspace(-1, 1, SIZE)
    light = rng.normal(0, 20) * ramp[:, None] + rng.normal(0, 20) * ramp[None, :]
    grain = rng.normal(0, rng.uniform(1, 6), (SIZE, SIZE))
    base = rng.uniform(60, 240) + rng.normal(0, 10, 3)
    pixels = base + (light + grain)[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def drawing(rng: Generator) -> Picture:
    """A pencil drawing of a vase or of loose strokes on paper."""
    paper = Image.new("RGB", (SIZE, SIZE), (250, 248, int(rng.integers(225, 250))))
    pen = ImageDraw.Draw(paper)
    rows = np.linspace(SIZE * 0.85, SIZE * 0.15, 60)
    radii = _profile(rng) * SIZE * 0.35
    for side in (-1, 1):
        pen.line([(SIZE / 2 + side * r, y) for r, y in zip(radii, rows, strict=True)], "black", 2)
    for _ in range(int(rng.integers(2, 9))):
        pen.line([tuple(p) for p in rng.uniform(0.2, 0.8, (4, 2)) * SIZE], (60, 60, 60), 2)
    for y, r in ((rows[0], radii[0]), (rows[-1], radii[-1])):
        pen.ellipse((SIZE / 2 - r, y - r / 5, SIZE / 2 + r, y + r / 5), outline="black", width=2)
    return paper.filter(ImageFilter.GaussianBlur(0.6))


THINGS: dict[str, Callable[[Generator], Actors]] = {
    "metal pots": metal_pot,
    "glass": glass,
    "fruit": fruit,
    "faces": face,
}
FLAT: dict[str, Callable[[Generator], Picture]] = {"walls": wall, "drawings": drawing}


def made(kind: str, count: int, seed: int) -> Iterator[Picture]:
    """`count` pictures of one of the `THINGS` or `FLAT` kinds."""
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        yield FLAT[kind](rng) if kind in FLAT else photograph(THINGS[kind](rng), rng)


def found(folders: list[Path]) -> Iterator[Picture]:
    """Every picture in the folders that is large enough and no vector, once per content."""
    seen = set()
    for path in sorted(p for folder in folders for p in folder.rglob("*")):
        if path.suffix.lower() not in {".png", ".jpg", ".jpeg", ".gif", ".tif"}:
            continue
        try:
            with Image.open(path) as opened:
                picture = ImageOps.exif_transpose(opened).convert("RGB")
        except (OSError, UnidentifiedImageError, ValueError):
            continue
        content = picture.tobytes()
        if min(picture.size) >= LEAST_SIDE and content not in seen:
            seen.add(content)
            yield picture
