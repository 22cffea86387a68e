"""The training loop by itself: resuming, clipping, averaging, rates, and what each step sees."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from porcelain.errors import UserError
from training.loop import (
    EpochSampler,
    LoopSettings,
    TrainingLoop,
    WarmupCosine,
    average,
    prefetch,
    seed_of,
)

STEPS = 6


class InterruptionError(Exception):
    """Stands for a kill between two steps."""


class Network(nn.Module):
    """Dropout and a buffer that moves, so that a resumed run needs both."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
        self.head = nn.Linear(8, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.head(self.layers(inputs))
        return output


def build(folder: Path, **settings: object) -> TrainingLoop:
    module = Network().train()
    return TrainingLoop(
        module,
        torch.optim.AdamW(module.parameters(), lr=0.1),
        WarmupCosine(STEPS, 2),
        Accelerator(),
        folder / "checkpoint.pt",
        LoopSettings(**{"averaging": 0.9, "checkpoint_seconds": 0.0, **settings}),
    )


def losses_of(loop: TrainingLoop, parts: int = 1) -> Callable[[int], list[Tensor]]:
    def losses(step: int) -> list[Tensor]:
        inputs = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
        return [loop.module(some).square().sum() / 8 for some in inputs.chunk(parts)]

    return losses


def state(loop: TrainingLoop) -> dict[str, Tensor]:
    assert loop.average is not None
    averaged = {f"average.{k}": v for k, v in loop.average.state_dict().items()}
    return {**loop.module.state_dict(), **averaged}


def test_an_interrupted_run_ends_bit_for_bit_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = build(tmp_path / "whole")
    whole.run(losses_of(whole))

    def kill(step: int) -> None:
        if step == 4:
            raise InterruptionError

    parts = build(tmp_path / "parts")
    with pytest.raises(InterruptionError):
        parts.run(losses_of(parts), kill)
    again = build(tmp_path / "parts")
    assert again.step == 3
    again.run(losses_of(again))
    assert again.history == whole.history
    assert len(whole.history.losses) == STEPS
    expected = state(whole)
    assert all(torch.equal(value, expected[name]) for name, value in state(again).items())


def test_a_checkpoint_of_another_version_says_so_in_one_line(tmp_path: Path) -> None:
    loop = build(tmp_path)
    loop.save()
    content = torch.load(loop.checkpoint, weights_only=True)
    torch.save({**content, "version": 1}, loop.checkpoint)
    with pytest.raises(UserError, match=r"another version.* delete the folder") as caught:
        build(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(loop.checkpoint) in str(caught.value)


def test_a_gradient_is_clipped_over_all_parts_of_a_batch(tmp_path: Path) -> None:
    loop = build(tmp_path, gradient_norm=0.01)
    seen: list[float] = []

    def measure(*_: object) -> None:
        gradients = [p.grad for p in loop.parameters.values() if p.grad is not None]
        seen.append(float(torch.stack([g.norm() for g in gradients]).norm()))

    loop.optimizer.register_step_pre_hook(measure)
    loop.run(lambda step: [1e4 * loss for loss in losses_of(loop, parts=2)(step)])
    assert min(loop.history.norms) > 1
    assert seen == pytest.approx([0.01] * STEPS, rel=1e-3)


def test_rates_follow_the_schedule_in_every_group(tmp_path: Path) -> None:
    loop = build(tmp_path)
    rates: list[float] = []
    loop.run(losses_of(loop), lambda step: rates.append(loop.optimizer.param_groups[0]["lr"]))
    assert rates == pytest.approx([0.1 * WarmupCosine(STEPS, 2).factor(i) for i in range(STEPS)])


def test_the_average_forgets_its_first_steps_soon() -> None:
    module = nn.Linear(1, 1, bias=False)
    averaged = average(module, 0.9)
    values = [1.0, 2.0, 4.0]
    for value in values:
        module.weight.data.fill_(value)
        averaged.update_parameters(module)
    expected = values[0]
    for count, value in enumerate(values[1:], start=1):
        share = min(0.9, (1 + count) / (10 + count))
        expected = share * expected + (1 - share) * value
    assert float(averaged.module.weight) == pytest.approx(expected)


def test_a_loss_that_is_not_a_number_says_what_to_do(tmp_path: Path) -> None:
    loop = build(tmp_path, remedy="lower --learning-rate")
    with pytest.raises(UserError, match="step 1; lower --learning-rate"):
        loop.run(lambda step: [loss * float("nan") for loss in losses_of(loop)(step)])


def test_every_picture_is_seen_as_often_as_its_share() -> None:
    shares = np.array([0.4, 0.2, 0.2, 0.2])
    sampler = EpochSampler(shares, seed=0)
    epochs = [np.bincount(sampler.batch(step, 4), minlength=4) for step in range(200)]
    assert all((np.abs(counts - 4 * shares) < 1).all() for counts in epochs)
    assert np.mean(epochs, axis=0) == pytest.approx(4 * shares, abs=0.1)
    assert EpochSampler(np.full(4, 0.25), seed=0).batch(3, 5).tolist() == (
        EpochSampler.uniform(4, seed=0).batch(3, 5).tolist()
    )


def test_steps_are_prepared_in_order_one_ahead() -> None:
    prepared: list[int] = []

    def prepare(step: int) -> int:
        prepared.append(step)
        return step

    stream = prefetch(prepare, range(4))
    assert next(stream) == 0
    deadline = time.monotonic() + 10
    while prepared != [0, 1] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert prepared == [0, 1]
    assert list(stream) == [1, 2, 3]
    assert list(prefetch(prepare, range(0))) == []


def test_a_fault_in_preparing_reaches_the_trainer() -> None:
    def prepare(step: int) -> int:
        raise ValueError(step)

    with pytest.raises(ValueError, match="0"):
        list(prefetch(prepare, range(2)))


def test_seeds_differ_by_every_part_of_their_key() -> None:
    keys = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 1, 2), (0, 2, 1)]
    assert len({seed_of(*key) for key in keys}) == len(keys)
    assert all(0 <= seed_of(7, step) < 2**63 for step in range(50))
