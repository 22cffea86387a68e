"""Likeness to the training pictures, and label sets, on made-up features and probabilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from porcelain.conformal import calibration_scores, has_own_limit, label_sets, limits
from porcelain.domain import (
    KEPT,
    LARGEST_REFERENCE,
    choose_threshold,
    encode_reference,
    load_reference,
    similarity,
)
from porcelain.errors import BundleError


def cloud(rng: np.random.Generator, count: int, *, at: int) -> np.ndarray:
    centre = np.zeros(32)
    centre[at] = 5
    return centre + rng.normal(0, 1, (count, 32))


def test_what_lies_elsewhere_is_told_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    file = tmp_path / "domain.safetensors"
    file.write_bytes(encode_reference(cloud(rng, 300, at=0)))
    reference = load_reference(file)
    threshold = choose_threshold(similarity(cloud(rng, 200, at=0), reference))
    own = similarity(cloud(rng, 500, at=0), reference) >= threshold
    other = similarity(cloud(rng, 500, at=1), reference) >= threshold
    assert own.mean() == pytest.approx(KEPT, abs=0.04)
    assert other.mean() < 0.01


def test_the_reference_is_bounded_and_brightness_of_features_does_not_matter(
    tmp_path: Path,
) -> None:
    features = cloud(np.random.default_rng(0), LARGEST_REFERENCE + 50, at=3)
    file = tmp_path / "domain.safetensors"
    file.write_bytes(encode_reference(features))
    reference = load_reference(file)
    assert reference.shape == (LARGEST_REFERENCE, 32)
    assert similarity(features[:9], reference) == pytest.approx(
        similarity(7 * features[:9], reference), abs=1e-6
    )


def test_a_reference_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "domain.safetensors"
    file.write_bytes(b"nothing")
    with pytest.raises(BundleError, match="cannot be read"):
        load_reference(file)


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_sets_hold_the_true_label_as_often_as_stated_in_all_and_in_each_class(
    coverage: float,
) -> None:
    rng = np.random.default_rng(1)
    names = ["a", "b", "c", "d"]

    def sample(count: int) -> tuple[np.ndarray, np.ndarray]:
        # Of `d` the model is hardly ever sure, so that a limit common to all would miss it.
        probabilities = rng.dirichlet([0.5, 0.5, 0.5, 0.2], count)
        truth = np.array([rng.choice(4, p=row) for row in probabilities])
        return probabilities, truth

    scores = calibration_scores(*sample(6000), names)
    within = limits(scores, names, coverage)
    probabilities, truth = sample(6000)
    sets = label_sets(probabilities, names, within)
    held = np.array([names[t] in chosen for t, chosen in zip(truth, sets, strict=True)])
    assert coverage - 0.02 < held.mean() < coverage + 0.08
    for index in range(4):
        assert held[truth == index].mean() > coverage - 0.03
    assert np.mean([len(chosen) for chosen in sets]) < 3


def test_rare_classes_borrow_and_too_few_pictures_give_every_label() -> None:
    many = {"common": [i / 100 for i in range(100)], "rare": [0.1] * 5, "hard": [0.995] * 10}
    common, rare, hard = limits(many, ["common", "rare", "hard"], 0.9)
    assert common == rare == pytest.approx(0.99)  # the 105th of all 115
    assert hard == pytest.approx(0.995)
    assert [has_own_limit(many, name, 0.9) for name in many] == [True, False, True]
    few = limits({"x": [0.1], "y": [0.2]}, ["x", "y"], 0.9)
    assert label_sets(np.array([[0.99, 0.01]]), ["x", "y"], few) == [["x", "y"]]


def test_a_set_is_never_empty_and_begins_with_the_most_probable() -> None:
    rows = np.array([[0.3, 0.7], [0.45, 0.55]])
    assert label_sets(rows, ["x", "y"], np.array([0.1, 0.1])) == [["y"], ["y"]]
    assert label_sets(rows, ["x", "y"], np.array([0.6, 0.1])) == [["y"], ["y", "x"]]
