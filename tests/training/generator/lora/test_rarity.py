"""Which pictures are seen how often, and in which order."""

from __future__ import annotations

import numpy as np
import pytest

from porcelain.dataset import Record
from tests.training.data.folders import labels_of
from training.generator.lora.inputs import rarity_weights
from training.loop import EpochSampler


def records_of(*groups: tuple[int, dict[str, str | None]]) -> list[Record]:
    return [Record(f"{i}-{j}.png", dict(g[1])) for i, g in enumerate(groups) for j in range(g[0])]


def test_a_picture_weighs_as_much_as_its_rarest_label() -> None:
    records = records_of(
        (81, labels_of("ming", "white", None, "bowl")),
        (18, labels_of("ming", "white", None, "vase")),
        (1, labels_of("song", "white", None, "vase")),
    )
    weights = rarity_weights(records, power=0.5)
    # By type 81 and 19, by dynasty 99 and 1, by glaze 100: the rarest decides.
    expected = np.array([81**-0.5] * 81 + [19**-0.5] * 18 + [1.0])
    np.testing.assert_allclose(weights, expected / expected.sum())
    assert weights.sum() == pytest.approx(1)


def test_power_zero_shows_all_alike_and_one_balances_a_task() -> None:
    records = records_of(
        (90, labels_of(None, None, None, "bowl")), (10, labels_of(None, None, None, "vase"))
    )
    np.testing.assert_allclose(rarity_weights(records, 0.0), 0.01)
    balanced = rarity_weights(records, 1.0)
    assert balanced[:90].sum() == pytest.approx(0.5)


def test_a_picture_without_labels_weighs_least() -> None:
    nothing = labels_of(None, None, None, None)
    records = records_of((9, labels_of(None, None, None, "bowl")), (1, nothing))
    weights = rarity_weights(records, 0.5)
    assert weights[-1] == weights.min()
    assert weights[-1] > 0


def test_every_epoch_shows_each_picture_its_expected_number_of_times() -> None:
    shares = np.array([0.5, 0.25, 0.15, 0.07, 0.03])
    order = EpochSampler(np.repeat(shares / 10, 10), seed=3)
    shown = np.stack([np.bincount(order.batch(step, 50), minlength=50) for step in range(400)])
    expected = np.repeat(shares * 5, 10)
    assert (shown >= np.floor(expected)).all()
    assert (shown <= np.ceil(expected)).all()
    np.testing.assert_allclose(shown.mean(axis=0), expected, atol=0.1)


def test_equal_shares_make_permutations() -> None:
    order = EpochSampler(np.full(7, 1 / 7), seed=0)
    epochs = [order.batch(epoch, 7).tolist() for epoch in range(5)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 5


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    shares = np.full(5, 0.2)
    forward = EpochSampler(shares, seed=1)
    batches = [forward.batch(step, 3).tolist() for step in range(10)]
    assert batches[7] == EpochSampler(shares, seed=1).batch(7, 3).tolist()
    assert batches != [EpochSampler(shares, seed=2).batch(step, 3).tolist() for step in range(10)]
    # Batches cut one endless row, over the ends of epochs, even where they are longer than one.
    row = [index for batch in batches for index in batch]
    assert EpochSampler(shares, seed=1).batch(1, 15).tolist() == row[15:30]
