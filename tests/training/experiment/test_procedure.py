"""How often the whole procedure errs, on made-up experiments whose truth is known.

`python -m benchmarks.experiment_statistics` prints the same for more worlds.
"""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.experiment_statistics import (
    COLLECTIONS,
    WORLDS,
    coverage,
    recommended,
    rejections,
    trials,
)
from training.experiment.statistics.analysis import AnalysisSettings

QUICK = AnalysisSettings(draws=200, swaps=399)
SMALL = {"glaze": (2, 4, 6, 11, 30), "type": (40, 20, 9, 5)}
NULLS = ("nothing changes", "nought on average, objects differ", "one lucky seed")


def allowed(count, level=0.05):
    """What a procedure of exactly this level exceeds in one of a thousand tests."""
    return level + 3.1 * (level * (1 - level) / count) ** 0.5


@pytest.mark.parametrize("name", NULLS)
def test_nothing_is_recommended_where_nothing_helps(name):
    found = list(recommended(WORLDS[name], 5, 40, QUICK, SMALL))
    assert np.mean([count > 0 for count in found]) <= allowed(len(found))


@pytest.mark.parametrize("name", [*NULLS[:2], "rare classes gain"])
def test_intervals_hold_with_a_long_tail(name):
    found = trials(replace(WORLDS[name], counts=(2, 4, 6, 11, 30, 200)), 5, 120, QUICK)
    assert coverage([t.comparison.f1_macro for t in found]) > 0.89
    assert coverage([t.own for t in found]) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [5, 10])
@pytest.mark.parametrize("name", NULLS)
def test_the_whole_procedure_errs_no_more_often_than_it_says(name, seeds):
    found = list(recommended(WORLDS[name], seeds, 300, AnalysisSettings(draws=300, swaps=999)))
    assert np.mean([count > 0 for count in found]) <= allowed(len(found))


@pytest.mark.slow
@pytest.mark.parametrize("collection", list(COLLECTIONS))
@pytest.mark.parametrize("name", ["nothing changes", "rare classes gain", "all gain"])
def test_intervals_hold_on_every_collection(name, collection):
    world = replace(WORLDS[name], counts=COLLECTIONS[collection])
    found = trials(world, 10, 400, AnalysisSettings(draws=300, swaps=199))
    assert coverage([t.comparison.f1_macro for t in found]) > 0.92
    assert coverage([t.own for t in found]) > 0.88
    if name == "nothing changes":
        assert rejections(found) <= allowed(len(found))
