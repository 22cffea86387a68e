from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from porcelain.explanation import heat_map, heat_map_png
from porcelain.preparation import prepare


def hot_cell(row: int, column: int) -> np.ndarray:
    activation = np.zeros((7, 7), dtype=np.float32)
    activation[row, column] = 3.0
    return activation


@pytest.mark.parametrize("shape", [(400, 200), (200, 400), (300, 300)])
def test_the_png_has_the_pictures_proportions(shape: tuple[int, int]) -> None:
    pixels = prepare(Image.new("RGB", shape, "grey"), rule="letterbox")
    picture = Image.open(io.BytesIO(heat_map_png(pixels, hot_cell(3, 3), shape, "letterbox")))
    assert picture.format == "PNG"
    assert picture.width / picture.height == pytest.approx(shape[0] / shape[1], rel=0.02)


def test_a_cropped_picture_is_shown_as_the_model_saw_it() -> None:
    pixels = prepare(Image.new("RGB", (400, 200), "grey"))
    picture = Image.open(io.BytesIO(heat_map_png(pixels, hot_cell(3, 3), (400, 200))))
    assert picture.width / picture.height == pytest.approx(224 / 128, rel=0.02)


def test_heat_shows_where_the_activation_is() -> None:
    pixels = prepare(Image.new("RGB", (300, 300), (128, 128, 128)))
    picture = np.asarray(Image.open(io.BytesIO(heat_map_png(pixels, hot_cell(1, 5), (300, 300)))))
    change = np.abs(picture.astype(int) - 128).sum(axis=-1)
    row, column = np.unravel_index(change.argmax(), change.shape)
    side = len(picture)
    assert row / side == pytest.approx(1.5 / 7, abs=0.05)
    assert column / side == pytest.approx(5.5 / 7, abs=0.05)
    assert change[-side // 7 :, : side // 7].max() <= 3


@pytest.mark.parametrize("value", [0.0, -4.0, np.nan])
def test_nothing_for_the_class_shows_the_picture_itself(value: float) -> None:
    activation = np.full((7, 7), value, dtype=np.float32)
    assert not heat_map(activation, 224).any()
    pixels = prepare(Image.new("RGB", (224, 224), "teal"))
    picture = Image.open(io.BytesIO(heat_map_png(pixels, activation, (224, 224))))
    assert picture.getpixel((100, 100)) == (0, 128, 128)


def test_heat_is_smooth_and_bounded() -> None:
    heat = heat_map(hot_cell(3, 3), 224)
    assert heat.min() == 0.0
    assert heat.max() == 1.0
    assert np.abs(np.diff(heat, axis=0)).max() < 0.08
