"""The masks that the faithfulness benchmark compares are of equal area and in the right place."""

import numpy as np
import pytest

from benchmarks.explanation import filling, hottest_mask, random_pixels

BOX = (0, 30, 100, 70)


def test_both_masks_hide_exactly_a_fifth_of_the_photograph():
    cells = np.random.default_rng(0).random((7, 7), dtype=np.float32)
    inside = 40 * 100
    for mask in (
        hottest_mask(cells, 100, BOX),
        hottest_mask(np.zeros((7, 7), np.float32), 100, BOX),
        random_pixels(100, BOX, np.random.default_rng(0)),
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


def test_fillings_keep_no_detail():
    pixels = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    mean = filling(pixels, BOX, "mean")
    assert (mean == mean[0, 0]).all()
    assert mean[0, 0] == pytest.approx(pixels[30:70].mean(axis=(0, 1)), abs=0.51)
    assert filling(pixels, BOX, "blur").std() < 10
