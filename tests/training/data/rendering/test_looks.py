"""What the pictures show: every form and every glaze, none blank, no two alike."""

import numpy as np
import pytest
from numpy.typing import NDArray

from training.data.rendering import forms, glazes, scene
from training.data.rendering.canvas import Canvas
from training.data.rendering.forms import MODELS
from training.data.rendering.history import Ware, wares
from training.data.rendering.shapes import SHAPES
from training.data.rendering.surface import normals_of

SIZE = 64
VIEW = scene.View("grey", 14.0, 0.4, 0.0, 14.0, 0.8, 0.0)
WARES = {ware.name: ware for ware in wares()}


def picture(ware: Ware, shape: str, seed: int = 0) -> NDArray[np.float32]:
    """One vessel from a fixed camera, colours 0 to 255 [SIZE, SIZE, 3]."""
    rng = np.random.default_rng(seed)
    vessel = forms.build(shape, ware.potting, rng)
    canvas = Canvas(vessel, 160, 140)
    skin = glazes.paint(canvas, ware.look, vessel.type, rng)
    image = scene.photograph(vessel, canvas, skin, VIEW, SIZE, np.random.default_rng(1))
    return np.asarray(image, np.float32)


@pytest.fixture(scope="module")
def by_shape() -> dict[str, NDArray[np.float32]]:
    ware = WARES["jdz_qing_white"]
    return {shape: picture(ware, shape) for shape in [*SHAPES, *MODELS]}


@pytest.fixture(scope="module")
def by_ware() -> dict[str, NDArray[np.float32]]:
    return {name: picture(ware, "vase_meiping") for name, ware in WARES.items()}


def test_every_form_shows_against_the_backdrop(by_shape: dict[str, NDArray[np.float32]]) -> None:
    for name, image in by_shape.items():
        backdrop = np.median(np.concatenate([image[:, :2], image[:, -2:]], 1), axis=1)
        differs = np.abs(image - backdrop[:, None]).max(axis=2) > 25
        assert 0.04 < differs.mean() < 0.85, name
        assert image[differs].std() > 8, f"{name} is flat"


def test_no_two_forms_look_alike(by_shape: dict[str, NDArray[np.float32]]) -> None:
    names = list(by_shape)
    for index, one in enumerate(names):
        for two in names[index + 1 :]:
            assert np.abs(by_shape[one] - by_shape[two]).mean() > 0.4, (one, two)


def test_no_two_wares_look_alike(by_ware: dict[str, NDArray[np.float32]]) -> None:
    names = list(by_ware)
    for index, one in enumerate(names):
        for two in names[index + 1 :]:
            assert np.abs(by_ware[one] - by_ware[two]).mean() > 0.4, (one, two)


@pytest.mark.parametrize(
    ("name", "strongest"),
    [("jdz_qing_red", 0), ("gongxian_green", 1), ("jdz_qing_blue", 2), ("jun_song", 2)],
)
def test_a_glaze_has_its_hue(
    by_ware: dict[str, NDArray[np.float32]], name: str, strongest: int
) -> None:
    body = by_ware[name][24:44, 27:37].reshape(-1, 3).mean(axis=0)
    assert int(body.argmax()) == strongest


def test_normals_point_outwards_and_are_unit_length() -> None:
    for shape in ("vase_meiping", "censer_ding", "ewer_pear", "jar_lidded"):
        vessel = forms.build(shape, forms.Potting(), np.random.default_rng(2))
        for patch in vessel.patches:
            normal, tangent = normals_of(patch)
            assert np.allclose(np.linalg.norm(normal, axis=2), 1, atol=1e-4), shape
            assert np.allclose(np.linalg.norm(tangent, axis=2), 1, atol=1e-4), shape
        body = vessel.patches[0]
        wall = body.zones == 3
        outward = (normals_of(body)[0][wall][..., :2] * body.points[wall][..., :2]).sum(axis=2)
        assert (outward > 0).mean() > 0.9, shape


def test_every_vessel_stands_on_the_ground() -> None:
    for shape in [*SHAPES, *MODELS]:
        vessel = forms.build(shape, forms.Potting(), np.random.default_rng(3))
        assert float(vessel.points[:, 2].min()) == pytest.approx(0.0, abs=0.02), shape
        assert np.isfinite(vessel.points).all(), shape
