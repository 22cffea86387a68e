"""Within a seed and fold every arm differs in its added pictures alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from training.experiment.material import Material
from training.experiment.paired import PairedTrainer, Purpose, Randomness, Schedule
from training.experiment.records import Arm, UnitKey
from training.experiment.units import initial_model, training_inputs, weights_digest

REAL = Arm(kind="real")
ARMS = [
    REAL,
    Arm(kind="mix", ratio=10),
    Arm(kind="mix", ratio=20),
    Arm(kind="oversample", ratio=20),
    Arm(kind="untuned", ratio=10),
    Arm(kind="weighted", ratio=20),
]


@pytest.fixture(scope="module")
def material(prepared) -> Material:
    return Material(prepared)


class Spy(PairedTrainer):
    """Keeps what the model is shown."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen: dict[Purpose, list] = {Purpose.REAL_VIEWS: [], Purpose.ADDED_VIEWS: []}
        self.rates: list[list[float]] = []
        self.masks: list[torch.Tensor] = []

    def _stream(self, pool, positions, purpose, step):
        stream = super()._stream(pool, positions, purpose, step)
        self.seen[purpose].append((pool.rows[positions], stream.images, stream.labels))
        return stream

    def _dropout(self, streams, width):
        self.rates.append([group["lr"] for group in self._optimizer.param_groups])
        mask = super()._dropout(streams, width)
        self.masks.append(mask[: len(streams[0].labels)])
        return mask


def watch(material: Material, arm: Arm, seed: int = 0, used_for=None) -> Spy:
    key = UnitKey(seed=seed, fold=1, arm=arm)
    inputs = training_inputs(material, key, used_for)
    model = initial_model(material, inputs.schedule.randomness)
    spy = Spy(
        model,
        material.training,
        inputs.schedule,
        inputs.real,
        inputs.added,
        device=torch.device("cpu"),
    )
    spy.train()
    return spy


@pytest.fixture(scope="module")
def real(material) -> Spy:
    return watch(material, REAL)


@pytest.mark.parametrize("arm", ARMS[1:], ids=lambda arm: arm.name)
def test_real_pictures_views_dropout_rates_and_steps_are_the_same(material, real, arm):
    other = watch(material, arm)
    mine, theirs = real.seen[Purpose.REAL_VIEWS], other.seen[Purpose.REAL_VIEWS]
    assert len(mine) == len(theirs) == 2 * (len(material.parts(0, 1).train) // 8)
    for (rows, images, labels), (other_rows, other_images, other_labels) in zip(
        mine, theirs, strict=True
    ):
        assert rows.tolist() == other_rows.tolist()
        assert torch.equal(images, other_images)
        assert torch.equal(labels, other_labels)
    assert real.rates == other.rates
    assert all(torch.equal(a, b) for a, b in zip(real.masks, other.masks, strict=True))
    assert sum(len(rows) for rows, *_ in other.seen[Purpose.ADDED_VIEWS]) > 0


def test_arms_begin_with_the_same_weights_and_end_with_others(material, real):
    first, second = (initial_model(material, Randomness(0, 1)) for _ in range(2))
    assert weights_digest(first) == weights_digest(second)
    assert weights_digest(first) != weights_digest(initial_model(material, Randomness(1, 1)))
    mixed = watch(material, Arm(kind="mix", ratio=10))
    assert weights_digest(mixed.model) != weights_digest(real.model)


def test_one_arm_and_seed_trains_to_the_same_weights_again(material, real):
    assert weights_digest(watch(material, REAL).model) == weights_digest(real.model)
    assert weights_digest(watch(material, REAL, seed=1).model) != weights_digest(real.model)


def test_what_counts_for_no_task_changes_no_head_s_loss(material):
    """A routed arm whose pictures are masked for a task leaves it the real pictures' labels."""
    arm = Arm(kind="routed", ratio=None)
    used_for = {"dynasty": 10.0, "glaze": 0.0, "kiln": 10.0, "type": 20.0}
    inputs = training_inputs(material, UnitKey(seed=0, fold=1, arm=arm), used_for)
    mixes = {
        ratio: training_inputs(
            material, UnitKey(seed=0, fold=1, arm=Arm(kind="mix", ratio=ratio))
        ).records
        for ratio in (10.0, 20.0)
    }
    names = [record.file_name for record in inputs.records]
    assert set(names) == {r.file_name for plan in mixes.values() for r in plan}
    for column, task in enumerate(material.experiment.tasks):
        counted = {n for n, row in zip(names, inputs.added.labels, strict=True) if row[column] >= 0}
        ratio = used_for[task]
        assert counted == ({r.file_name for r in mixes[ratio]} if ratio else set())


def test_masked_pictures_do_not_move_the_priors_that_predictions_are_corrected_by(material):
    inputs = training_inputs(material, UnitKey(seed=0, fold=1, arm=Arm(kind="mix", ratio=20)))
    masked = replace(inputs.added, labels=torch.full_like(inputs.added.labels, -1))
    trainer = PairedTrainer(
        initial_model(material, inputs.schedule.randomness),
        material.training,
        inputs.schedule,
        inputs.real,
        masked,
        device=torch.device("cpu"),
    )
    for column, task in enumerate(material.experiment.tasks):
        known = inputs.real.labels[:, column]
        counts = torch.bincount(known[known >= 0], minlength=len(trainer._priors[task])) + 0.5
        assert torch.allclose(trainer._priors[task], torch.log(counts / counts.sum()))


def test_added_pictures_are_seen_as_often_as_real_ones():
    schedule = Schedule(real=103, added=11, batch_size=8, epochs=10, randomness=Randomness(3, 0))
    seen = np.concatenate([schedule.added_rows(step) for step in range(schedule.steps)])
    counts = np.bincount(seen, minlength=11)
    assert counts.min() >= 8
    assert counts.max() <= 10
    passes = np.bincount(
        np.concatenate([schedule.real_rows(step) for step in range(schedule.steps)])
    )
    assert passes.max() <= 10
    sizes = {len(schedule.added_rows(step)) for step in range(schedule.steps)}
    assert sizes <= {0, 1}


def test_more_added_pictures_than_a_batch_pass_in_whole_orders():
    schedule = Schedule(real=8, added=30, batch_size=8, epochs=4, randomness=Randomness(0, 0))
    seen = np.concatenate([schedule.added_rows(step) for step in range(schedule.steps)])
    for start in range(0, len(seen), 30):
        assert sorted(seen[start : start + 30]) == list(range(30))


def test_pretraining_takes_its_steps_from_the_same_budget(material, real):
    other = watch(material, Arm(kind="pretrain", ratio=20))
    mine, theirs = real.seen[Purpose.REAL_VIEWS], other.seen[Purpose.REAL_VIEWS]
    first = round(0.3 * len(mine))
    assert len(mine) == len(theirs)
    assert all(len(rows) == 0 for rows, *_ in theirs[:first])
    assert all(len(rows) == 8 for rows, *_ in other.seen[Purpose.ADDED_VIEWS][:first])
    assert all(len(rows) == 0 for rows, *_ in other.seen[Purpose.ADDED_VIEWS][first:])
    for (rows, images, _), (other_rows, other_images, _) in zip(
        mine[first:], theirs[first:], strict=True
    ):
        assert rows.tolist() == other_rows.tolist()
        assert torch.equal(images, other_images)
