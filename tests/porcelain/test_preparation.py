from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from porcelain.preparation import content_box, decode_and_prepare, load_and_prepare, prepare
from tests import pictures


@pytest.mark.parametrize("shape", [(1, 1), (224, 224), (640, 480), (480, 640), (2000, 3), (3, 900)])
@pytest.mark.parametrize("rule", ["letterbox-crop", "letterbox", "squash"])
def test_any_shape_becomes_the_square(shape: tuple[int, int], rule: str) -> None:
    prepared = prepare(Image.new("RGB", shape, "red"), rule=rule)
    assert prepared.shape == (224, 224, 3)
    assert prepared.dtype == np.uint8
    assert (prepared == [255, 0, 0]).all()


def test_letterbox_keeps_proportions_and_continues_the_border() -> None:
    image = Image.new("RGB", (400, 200), "blue")
    ImageDraw.Draw(image).ellipse((150, 50, 249, 149), fill="white")
    prepared = prepare(image, rule="letterbox")
    white = (prepared > 200).all(axis=-1)
    rows, columns = white.any(axis=1).sum(), white.any(axis=0).sum()
    assert abs(int(rows) - int(columns)) <= 1
    assert prepared[0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize(
    ("shape", "whole", "centre"),
    [
        ((400, 200), (0, 56, 224, 168), (0, 48, 224, 176)),
        ((200, 400), (56, 0, 168, 224), (48, 0, 176, 224)),
        ((10, 10), (0, 0, 224, 224), (0, 0, 224, 224)),
        ((5000, 1), (0, 111, 224, 112), (0, 111, 224, 112)),
    ],
)
def test_content_box(
    shape: tuple[int, int], whole: tuple[int, int, int, int], centre: tuple[int, int, int, int]
) -> None:
    assert content_box(shape, rule="letterbox") == whole
    assert content_box(shape, rule="letterbox-crop") == centre
    assert content_box(shape, rule="squash") == (0, 0, 224, 224)


def test_the_crop_is_the_centre_of_a_larger_letterbox() -> None:
    rng = np.random.default_rng(3)
    texture = Image.fromarray(rng.integers(0, 255, (20, 30, 3), dtype=np.uint8))
    image = texture.resize((512, 341), Image.Resampling.BICUBIC)
    larger = prepare(image, 256, "letterbox")
    assert (prepare(image, 224, "letterbox-crop") == larger[16:240, 16:240]).all()


@pytest.mark.parametrize("shape", [(4000, 3000), (2048, 1365), (1024, 1024), (700, 500)])
def test_reduced_decoding_gives_nearly_the_same_input(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(7)
    texture = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8))
    image = texture.resize(shape, Image.Resampling.BICUBIC)
    data = pictures.jpeg(image, subsampling=0)
    reduced, decoded = decode_and_prepare(data)
    assert (decoded.width, decoded.height) == shape
    difference = np.abs(reduced.astype(int) - prepare(image).astype(int))
    assert difference.mean() < 2


def test_a_file_is_read(tmp_path) -> None:
    path = tmp_path / "vase.jpg"
    path.write_bytes(pictures.jpeg())
    assert (load_and_prepare(path) == decode_and_prepare(pictures.jpeg())[0]).all()
