"""The camera: one VTK renderer per studio and process, reused for every picture."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkFloatArray, vtkObject, vtkPoints, vtkUnsignedCharArray
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkImageData, vtkPolyData
from vtkmodules.vtkRenderingCore import (
    vtkActor,
    vtkPolyDataMapper,
    vtkRenderer,
    vtkRenderWindow,
    vtkTexture,
)
from vtkmodules.vtkRenderingOpenGL2 import vtkOpenGLRenderer

from training.data.rendering.canvas import Canvas
from training.data.rendering.glazes import Skin
from training.data.rendering.light import STUDIOS, environment
from training.data.rendering.surface import Array, normals_of


class Studio:
    """An off-screen renderer with one environment of lamps around it."""

    def __init__(self, name: str, pixels: int) -> None:
        self.pixels = pixels
        # Without a display VTK tries X, says so, and goes on with EGL or OSMesa.
        vtkObject.GlobalWarningDisplayOff()
        self._window = vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.SetAlphaBitPlanes(1)
        self._window.SetSize(pixels, pixels)
        self._renderer: vtkRenderer = vtkOpenGLRenderer()
        self._window.AddRenderer(self._renderer)
        # The lamps' edges are soft: fewer samples look the same and start a second sooner.
        self._renderer.GetEnvMapPrefiltered().SetPrefilterMaxSamples(128)
        self._renderer.GetEnvMapLookupTable().SetLUTSize(128)
        self._renderer.GetEnvMapLookupTable().SetLUTSamples(256)
        self._renderer.SetBackgroundAlpha(0.0)
        self._renderer.UseImageBasedLightingOn()
        self._renderer.UseSphericalHarmonicsOn()
        self._renderer.SetEnvironmentTexture(_environment_texture(name), False)
        self._renderer.SetEnvironmentUp(0, 0, 1)
        self._mapper = vtkPolyDataMapper()
        self._mapper.ScalarVisibilityOff()
        self._actor = vtkActor()
        self._actor.SetMapper(self._mapper)
        material = self._actor.GetProperty()
        material.SetInterpolationToPBR()
        material.SetMetallic(0.0)
        material.SetRoughness(1.0)
        material.SetOcclusionStrength(1.0)
        material.SetNormalScale(1.0)
        # A little above stoneware glaze's 1.5: the lamps' reflections carry the shape.
        material.SetBaseIOR(1.7)
        self._renderer.AddActor(self._actor)

    def shoot(
        self, canvas: Canvas, skin: Skin, occlusion: Array, yaw: float, turn: float,
        eye: tuple[float, float, float], aim: tuple[float, float, float], angle: float,
    ) -> NDArray[np.uint8]:  # fmt: skip
        """Photographs one glazed vessel.

        Args:
            canvas: the vessel's texture layout.
            skin: its glaze.
            occlusion: share of light that reaches each texel [height, width].
            yaw: how far the vessel is turned about z.
            turn: how far the lamps are turned about z.
            eye: where the camera is.
            aim: where it looks.
            angle: its field of view in degrees.

        Returns:
            RGBA on a transparent ground [pixels, pixels, 4].
        """
        self._mapper.SetInputData(_mesh(canvas, yaw))
        material = self._actor.GetProperty()
        material.RemoveAllTextures()
        material.SetBaseColorTexture(_texture(_bytes(skin.colour), srgb=True))
        material.SetMetallic(1.0 if skin.metallic else 0.0)
        packed = np.stack([occlusion, skin.roughness, np.full_like(occlusion, skin.metallic)], -1)
        material.SetORMTexture(_texture(_bytes(packed), srgb=False))
        material.SetNormalTexture(_texture(_normal_map(canvas, skin.relief), srgb=False))
        self._renderer.SetEnvironmentRight(float(np.cos(turn)), float(np.sin(turn)), 0.0)
        camera = self._renderer.GetActiveCamera()
        camera.SetPosition(*eye)
        camera.SetFocalPoint(*aim)
        camera.SetViewUp(0, 0, 1)
        camera.SetViewAngle(angle)
        self._renderer.ResetCameraClippingRange()
        window = self._window
        window.Render()
        out = vtkUnsignedCharArray()
        last = self.pixels - 1
        window.GetRGBACharPixelData(0, 0, last, last, 0, out, 0)
        flat: NDArray[np.uint8] = vtk_to_numpy(out).reshape(self.pixels, self.pixels, 4)
        return np.ascontiguousarray(flat[::-1])

    def depth(self) -> NDArray[np.float32]:
        """The z-buffer of the last picture [pixels, pixels]: 0 nearest, 1 where nothing stands."""
        out = vtkFloatArray()
        last = self.pixels - 1
        self._window.GetZbufferData(0, 0, last, last, out)
        flat: NDArray[np.float32] = vtk_to_numpy(out).reshape(self.pixels, self.pixels)
        return np.ascontiguousarray(flat[::-1])


@lru_cache(maxsize=4)
def studio(name: str, pixels: int) -> Studio:
    """This process's renderer for one studio, made when first asked for."""
    return Studio(name, pixels)


def _environment_texture(name: str) -> vtkTexture:
    picture = environment(STUDIOS[name])
    height, width = picture.shape[:2]
    image = vtkImageData()
    image.SetDimensions(width, height, 1)
    image.GetPointData().SetScalars(numpy_to_vtk(picture.reshape(-1, 3), deep=True))
    texture = vtkTexture()
    texture.SetInputData(image)
    texture.SetColorModeToDirectScalars()
    texture.MipmapOn()
    texture.InterpolateOn()
    return texture


def _bytes(values: Array) -> NDArray[np.uint8]:
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)


def _texture(picture: NDArray[np.uint8], srgb: bool) -> vtkTexture:
    """A texture whose first row is v = 0."""
    height, width = picture.shape[:2]
    image = vtkImageData()
    image.SetDimensions(width, height, 1)
    flat = np.ascontiguousarray(picture.reshape(-1, 3))
    image.GetPointData().SetScalars(numpy_to_vtk(flat, deep=True))
    texture = vtkTexture()
    texture.SetInputData(image)
    texture.SetColorModeToDirectScalars()
    texture.SetUseSRGBColorSpace(srgb)
    texture.MipmapOff()
    texture.InterpolateOn()
    texture.RepeatOn()
    return texture


def _normal_map(canvas: Canvas, relief: Array) -> NDArray[np.uint8]:
    """Tangent-space normals of the relief."""
    across = (np.roll(relief, -1, 1) - np.roll(relief, 1, 1)) / 2
    span = np.maximum(2 * np.pi * canvas.radius / canvas.width, 2e-3)
    along = np.gradient(relief, axis=0)
    step = np.maximum(np.abs(np.gradient(canvas.way, axis=0)), 1e-3)
    # Where a dish's middle draws the texture to a point, relief would only be noise.
    flat = np.clip(canvas.radius / 0.3 - 0.2, 0, 1)
    x, y = -across / span * flat, -along / step * flat
    seam = np.zeros((canvas.height, 1), np.float32)
    for strip in canvas.strips:
        seam[strip.start + 2 : strip.stop - 2] = 1
    x, y = np.clip(x, -0.8, 0.8) * seam, np.clip(y, -0.8, 0.8) * seam
    length = np.sqrt(1 + x**2 + y**2)
    return _bytes(np.stack([x / length, y / length, 1 / length], -1) * 0.5 + 0.5)


def _mesh(canvas: Canvas, yaw: float) -> vtkPolyData:
    """All patches as one mesh with normals, tangents and texture coordinates."""
    points, normals, tangents, faces = [], [], [], []
    start = 0
    for strip in canvas.strips:
        grid = strip.patch.points
        normal, tangent = normals_of(strip.patch)
        points.append(grid.reshape(-1, 3))
        normals.append(normal.reshape(-1, 3))
        tangents.append(tangent.reshape(-1, 3))
        rows, columns = grid.shape[:2]
        corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel() + start
        first = np.stack([corner, corner + 1, corner + columns + 1], 1)
        second = np.stack([corner, corner + columns + 1, corner + columns], 1)
        faces.append(np.concatenate([first, second]))
        start += rows * columns
    cos, sin = np.cos(yaw), np.sin(yaw)
    matrix = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], np.float32)
    mesh = vtkPolyData()
    place = vtkPoints()
    place.SetData(numpy_to_vtk(np.concatenate(points) @ matrix.T, deep=True))
    mesh.SetPoints(place)
    triangles = np.concatenate(faces)
    cells = vtkCellArray()
    offsets = np.arange(0, triangles.size + 1, 3)
    cells.SetData(
        numpy_to_vtkIdTypeArray(offsets, deep=True),
        numpy_to_vtkIdTypeArray(triangles.ravel(), deep=True),
    )
    mesh.SetPolys(cells)
    for name, vectors, setter in (
        ("normals", np.concatenate(normals) @ matrix.T, mesh.GetPointData().SetNormals),
        ("tangents", np.concatenate(tangents) @ matrix.T, mesh.GetPointData().SetTangents),
    ):
        array = numpy_to_vtk(vectors.astype(np.float32), deep=True)
        array.SetName(name)
        setter(array)
    uv = np.concatenate([grid.reshape(-1, 2) for grid in canvas.coordinates()])
    coordinates = numpy_to_vtk(uv, deep=True)
    coordinates.SetName("uv")
    mesh.GetPointData().SetTCoords(coordinates)
    return mesh
