"""Defects on constructed pictures, and none on good ones."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.data.folders import vessel
from training.generator.synthesis.checks import DefectLimits, Reason, find_defects, measure_tones

RNG = np.random.default_rng(0)
SIDE = 96


def defects(values: np.ndarray) -> list[Reason]:
    picture = np.broadcast_to(values, (SIDE, SIDE, 3)).clip(0, 255).astype(np.uint8)
    return find_defects(measure_tones(np.ascontiguousarray(picture)), DefectLimits())


def vase(seed: int = 0) -> np.ndarray:
    return np.array(vessel(seed).resize((SIDE, SIDE)))


@pytest.mark.parametrize("seed", range(8))
def test_pictures_of_vessels_have_none(seed):
    assert defects(vase(seed)) == []


def test_even_ground_is_blank_whatever_its_colour():
    for colour in ((0, 0, 0), (255, 255, 255), (128, 128, 128), (255, 0, 0)):
        assert defects(np.asarray(colour)) == [Reason.BLANK]


def test_a_backdrop_without_an_object_is_blank():
    assert defects(np.linspace(60, 200, SIDE)[:, None, None]) == [Reason.BLANK]


def test_grain_is_noise_even_over_a_vessel():
    assert defects(RNG.normal(128, 50, (SIDE, SIDE, 3))) == [Reason.NOISE]
    assert Reason.NOISE in defects(vase() * 0.2 + RNG.normal(100, 60, (SIDE, SIDE, 1)))


def test_a_little_grain_is_none():
    assert defects(vase() + RNG.normal(0, 6, (SIDE, SIDE, 3))) == []


def test_burnt_colours_are_saturated():
    burnt = np.where(vase() > vase().mean(axis=(0, 1)), 255, 0)
    assert Reason.SATURATED in defects(burnt)
    tinted = vase().astype(float) * (1.0, 0.3, 0.1)
    assert Reason.SATURATED in defects(tinted * 1.4)


def test_a_white_backdrop_is_not_burnt():
    picture = vase()
    picture[: SIDE // 3] = 255
    picture[:, : SIDE // 4] = 255
    assert defects(picture) == []


def test_what_is_wrong_does_not_depend_on_the_size():
    large = np.asarray(vessel(1).resize((512, 512)))
    assert find_defects(measure_tones(large), DefectLimits()) == []
    grain = RNG.normal(128, 50, (512, 512, 3)).clip(0, 255).astype(np.uint8)
    assert Reason.BLANK in find_defects(measure_tones(grain), DefectLimits(detail=30))
    assert Reason.NOISE in find_defects(measure_tones(grain), DefectLimits())
