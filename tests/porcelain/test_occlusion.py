"""Hiding parts of a picture, and telling from the answers which parts mattered."""

from __future__ import annotations

import numpy as np
import pytest

from porcelain import occlusion
from porcelain.occlusion import GRID, HIDDEN, MASKS, evidence, hiding_masks, occlude

SIZE = 112
NOISE = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def falls_for(weights: np.ndarray) -> np.ndarray:
    """The falls of an answer to which each pixel gives its weight, [MASKS, 1]."""
    return np.einsum("kyx,yx->k", hiding_masks(SIZE), weights)[:, np.newaxis]


def spot(row: int, column: int) -> np.ndarray:
    """Weights [SIZE, SIZE] of a spot two cells wide."""
    weights = np.zeros((SIZE, SIZE), dtype=np.float32)
    weights[8 * row : 8 * (row + 2), 8 * column : 8 * (column + 2)] = 1 / 256
    return weights


def test_masks_hide_the_same_share_everywhere_and_never_change() -> None:
    masks = hiding_masks(SIZE)
    assert masks.shape == (MASKS, SIZE, SIZE)
    assert masks.mean(axis=(1, 2)) == pytest.approx(HIDDEN, abs=0.005)
    often = masks.mean(axis=0).reshape(7, 16, 7, 16).mean(axis=(1, 3))
    assert often == pytest.approx(HIDDEN, abs=0.07)
    hiding_masks.cache_clear()
    assert (hiding_masks(SIZE) == masks).all()
    with pytest.raises(ValueError, match="read-only"):
        masks[0] = False


def test_masks_overlap_less_than_chance_would_have_it() -> None:
    fields = np.random.default_rng(9).random((MASKS, 7, 7), dtype=np.float32)
    chance = np.stack([occlusion._top(field, SIZE) for field in fields])

    def largest_overlaps(masks: np.ndarray) -> float:
        flat = masks.reshape(MASKS, -1).astype(np.float32)
        overlap = flat @ flat.T / flat.shape[1]
        np.fill_diagonal(overlap, 0)
        return float(overlap.max(axis=1).mean())

    assert largest_overlaps(hiding_masks(SIZE)) < 0.9 * largest_overlaps(chance)


def test_what_is_not_hidden_stays_as_it_is() -> None:
    masks, hidden = hiding_masks(SIZE), occlude(NOISE)
    assert hidden.shape == (MASKS, SIZE, SIZE, 3)
    for mask, picture in zip(masks, hidden, strict=True):
        assert (picture[~mask] == NOISE[~mask]).all()
        assert picture[mask].std() < 0.2 * NOISE.std()


@pytest.mark.parametrize(("row", "column"), [(2, 2), (6, 9), (11, 4)])
def test_the_part_that_matters_is_found(row: int, column: int) -> None:
    cells = evidence(NOISE, falls_for(spot(row, column)))[0]
    assert cells.shape == GRID
    top, left = np.unravel_index(cells.argmax(), GRID)
    assert row - 1 <= top <= row + 2
    assert column - 1 <= left <= column + 2
    assert cells[row : row + 2, column : column + 2].mean() > 4 * np.abs(cells).mean()


def test_each_answer_has_its_map_and_what_speaks_against_it_is_negative() -> None:
    falls = np.concatenate([falls_for(spot(2, 2)), falls_for(-spot(10, 10))], axis=1)
    first, second = evidence(NOISE, falls)
    assert first[2:4, 2:4].min() > 0
    assert second[10:12, 10:12].max() < 0
    np.testing.assert_allclose(evidence(NOISE, falls + 5.0), [first, second], atol=1e-5)


def test_chance_does_not_colour_an_even_background() -> None:
    picture = np.full((SIZE, SIZE, 3), 90, dtype=np.uint8)
    picture[40:72, 40:72] = NOISE[40:72, 40:72]
    falls = np.random.default_rng(1).normal(size=(MASKS, 1))
    cells = np.abs(evidence(picture, falls)[0])
    assert cells[5:9, 5:9].mean() > 20 * cells[:, :2].mean()


def test_a_picture_without_detail_has_an_empty_map() -> None:
    blank = np.full((SIZE, SIZE, 3), 200, dtype=np.uint8)
    assert not evidence(blank, falls_for(spot(3, 3))).any()


def test_other_grids_show_the_same_place() -> None:
    cells = evidence(NOISE, falls_for(spot(8, 4)), (7, 7))[0]
    assert np.unravel_index(cells.argmax(), (7, 7)) == (4, 2)


def test_halves_are_hidden_in_different_ways() -> None:
    hidden = occlude(NOISE)
    masks = hiding_masks(SIZE)
    half = occlusion.MASKS // 2
    assert len(np.unique(hidden[0][masks[0]], axis=0)) == 1
    assert len(np.unique(hidden[half][masks[half]], axis=0)) > 1
