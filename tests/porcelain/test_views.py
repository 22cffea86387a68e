"""Several photographs of one object, on made-up probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from porcelain.predictor import Outputs
from porcelain.views import pool, pool_views


def outputs(*rows: list[float]) -> Outputs:
    return Outputs({"type": np.array(rows, dtype=np.float32)})


def test_views_that_agree_are_no_surer_than_each() -> None:
    assert pool(np.array([[0.8, 0.2]] * 5)) == pytest.approx([0.8, 0.2])


def test_what_one_view_rules_out_is_ruled_out() -> None:
    views = np.array([[0.6, 0.4], [0.001, 0.999]])
    assert views.mean(axis=0)[0] == pytest.approx(0.3, abs=0.01)
    assert pool(views)[0] == pytest.approx(np.sqrt(0.0006) / (np.sqrt(0.0006) + np.sqrt(0.3996)))


def test_impossible_labels_leave_a_probability() -> None:
    pooled = pool(np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert np.isfinite(pooled).all()
    assert pooled.sum() == pytest.approx(1)


def test_pictures_count_alike_however_they_come() -> None:
    together = pool_views([outputs([0.9, 0.1], [0.5, 0.5], [0.2, 0.8])])
    apart = pool_views([outputs([0.9, 0.1]), outputs([0.5, 0.5], [0.2, 0.8])])
    assert together.probabilities["type"].shape == (1, 2)
    np.testing.assert_allclose(together.probabilities["type"], apart.probabilities["type"])
