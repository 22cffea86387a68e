import numpy as np

from training.experiment.statistics.scoring import object_draws

STRATA = np.repeat([0, 1, 2, 3], [1, 2, 5, 60])


def test_every_class_keeps_its_weight_in_every_draw():
    draws = object_draws(STRATA, 500, 0)
    for stratum, size in enumerate((1, 2, 5, 60)):
        np.testing.assert_allclose(draws[:, stratum == STRATA].sum(axis=1), size)


def test_the_only_object_of_a_class_counts_once():
    assert (object_draws(STRATA, 50, 0)[:, 0] == 1.0).all()


def test_means_vary_as_an_unbiased_estimate_says_even_for_two_objects():
    draws = object_draws(STRATA, 40_000, 1)
    values = np.random.default_rng(0).normal(size=len(STRATA))
    for stratum in (1, 2, 3):
        own = stratum == STRATA
        means = draws[:, own] @ values[own] / own.sum()
        np.testing.assert_allclose(means.mean(), values[own].mean(), atol=0.02)
        expected = values[own].var(ddof=1) / own.sum()
        np.testing.assert_allclose(means.var(), expected, rtol=0.05)


def test_the_same_seed_gives_the_same_draws():
    assert (object_draws(STRATA, 20, 7) == object_draws(STRATA, 20, 7)).all()
    assert (object_draws(STRATA, 20, 7) != object_draws(STRATA, 20, 8)).any()
