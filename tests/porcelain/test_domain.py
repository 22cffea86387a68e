"""Likeness to the training pictures, and label sets, on made-up features and probabilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from porcelain.conformal import calibration_scores, label_set, limits
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
def test_sets_hold_the_true_label_as_often_as_stated(coverage: float) -> None:
    rng = np.random.default_rng(1)
    names = ["a", "b", "c", "d"]

    def sample(count: int) -> tuple[np.ndarray, np.ndarray]:
        probabilities = rng.dirichlet(np.full(4, 0.5), count)
        truth = np.array([rng.choice(4, p=row) for row in probabilities])
        return probabilities, truth

    scores = calibration_scores(*sample(2000), names)
    within = limits(scores, names, coverage)
    probabilities, truth = sample(4000)
    sets = [label_set(row, names, within) for row in probabilities]
    held = np.array([names[t] in chosen for t, chosen in zip(truth, sets, strict=True)])
    for index in range(4):
        assert held[truth == index].mean() == pytest.approx(coverage, abs=0.05)
    assert np.mean([len(chosen) for chosen in sets]) < 3


def test_rare_classes_borrow_and_too_few_pictures_give_every_label() -> None:
    many = {"common": [i / 100 for i in range(100)], "rare": [0.5]}
    common, rare = limits(many, ["common", "rare"], 0.9)
    assert common == pytest.approx(0.90)
    assert rare == pytest.approx(sorted([*many["common"], 0.5])[91])
    few = limits({"x": [0.1], "y": [0.2]}, ["x", "y"], 0.9)
    assert label_set(np.array([0.99, 0.01]), ["x", "y"], few) == ["x", "y"]


def test_a_set_is_never_empty() -> None:
    assert label_set(np.array([0.3, 0.7]), ["x", "y"], np.array([0.1, 0.1])) == ["y"]
