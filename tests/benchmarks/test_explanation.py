"""The masks that the faithfulness benchmark compares are of equal area and in the right place."""

import numpy as np
import pytest

from benchmarks.masks import control_map, filling, hottest_mask, moved, random_pixels

BOX = (0, 30, 100, 70)


def test_both_masks_hide_exactly_a_fifth_of_the_photograph():
    cells = np.random.default_rng(0).random((7, 7), dtype=np.float32)
    inside = 40 * 100
    for mask in (
        hottest_mask(cells, 100, BOX),
        hottest_mask(np.zeros((7, 7), np.float32), 100, BOX),
        random_pixels(100, BOX, np.random.default_rng(0)),
        moved(hottest_mask(cells, 100, BOX), BOX, np.random.default_rng(0)),
    ):
        assert mask.sum() == inside // 5
        assert not mask[:30].any()
        assert not mask[70:].any()


def test_the_hottest_part_is_where_the_map_says():
    cells = np.full((4, 4), -3.0, dtype=np.float32)
    cells[1, 0] = cells[2, 0] = -1.0
    mask = hottest_mask(cells, 100, (0, 0, 100, 100))
    assert mask[25:75, :15].all()
    assert not mask[:, 50:].any()


def test_moved_patches_keep_their_grain():
    cells = np.random.default_rng(3).random((7, 7), dtype=np.float32)
    mask, rng = hottest_mask(cells, 100, BOX), np.random.default_rng(4)

    def edges(patches):  # round the edges of the photograph, as it is shifted round them
        inside = patches[30:70]
        return sum((inside != np.roll(inside, 1, axis)).sum() for axis in (0, 1))

    others = [moved(mask, BOX, rng) for _ in range(5)]
    assert all(edges(other) == edges(mask) for other in others)
    assert all((other != mask).any() for other in others)


def test_control_maps_know_the_picture_alone():
    pixels = np.full((112, 112, 3), 90, dtype=np.uint8)
    pixels[64:80, 16:32] = np.random.default_rng(0).integers(0, 256, (16, 16, 3))
    detail, centre = control_map("detail", pixels), control_map("centre", pixels)
    row, column = np.unravel_index(detail.argmax(), detail.shape)
    assert row in (8, 9)
    assert column in (2, 3)
    assert centre.argmax() in (6 * 14 + 6, 6 * 14 + 7, 7 * 14 + 6, 7 * 14 + 7)


def test_fillings_keep_no_detail():
    pixels = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    mean = filling(pixels, BOX, "mean")
    assert (mean == mean[0, 0]).all()
    assert mean[0, 0] == pytest.approx(pixels[30:70].mean(axis=(0, 1)), abs=0.51)
    assert filling(pixels, BOX, "blur").std() < 10
    assert (filling(pixels, BOX, "grey") == 127).all()
