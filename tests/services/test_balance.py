"""Connections move from the worker that answers most to those that idle."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.balance import LEAST, WINDOW, ConnectionBalance


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def answers(balance: ConnectionBalance, count: int, in_progress: int = 4) -> list[bool]:
    return [balance.answered(in_progress) for _ in range(count)]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pair(tmp_path: Path, clock: Clock) -> tuple[ConnectionBalance, ConnectionBalance]:
    busy, idle = (ConnectionBalance(tmp_path, i, 2, clock) for i in range(2))
    return busy, idle


def test_one_connection_is_shed_in_each_window_while_another_worker_idles(
    pair: tuple[ConnectionBalance, ConnectionBalance], clock: Clock
) -> None:
    busy, _ = pair
    for _ in range(3):
        assert not any(answers(busy, LEAST))
        clock.now += 1.5 * WINDOW
        assert answers(busy, 5) == [True, False, False, False, False]


def test_even_shares_shed_nothing(
    pair: tuple[ConnectionBalance, ConnectionBalance], clock: Clock
) -> None:
    first, second = pair
    for _ in range(5):
        answers(first, LEAST)
        answers(second, LEAST + 1)
        clock.now += 1.5 * WINDOW
        assert answers(first, 1) == [False]
        assert answers(second, 1) == [False]


def test_a_worker_with_nothing_waiting_keeps_its_only_client(
    pair: tuple[ConnectionBalance, ConnectionBalance], clock: Clock
) -> None:
    busy, _ = pair
    for _ in range(5):
        clock.now += 1.5 * WINDOW
        assert not any(answers(busy, 100, in_progress=0))


def test_few_answers_say_nothing(
    pair: tuple[ConnectionBalance, ConnectionBalance], clock: Clock
) -> None:
    busy, _ = pair
    clock.now += 1.5 * WINDOW
    assert not any(answers(busy, LEAST - 1))


def test_slow_answers_say_something_in_time(
    pair: tuple[ConnectionBalance, ConnectionBalance], clock: Clock
) -> None:
    busy, _ = pair
    shed = 0
    for _ in range(3 * LEAST):
        clock.now += 1.5 * WINDOW
        shed += sum(answers(busy, 1))
    assert shed == 3


def test_a_single_worker_or_process_sheds_nothing(tmp_path: Path, clock: Clock) -> None:
    for folder, workers in ((tmp_path, 1), (None, 1)):
        alone = ConnectionBalance(folder, 0, workers, clock)
        for _ in range(5):
            clock.now += 1.5 * WINDOW
            assert not any(answers(alone, 100))


def test_a_worker_that_starts_late_keeps_what_others_have_counted(
    pair: tuple[ConnectionBalance, ConnectionBalance], tmp_path: Path, clock: Clock
) -> None:
    busy, _ = pair
    answers(busy, 50)
    ConnectionBalance(tmp_path, 1, 2, clock)
    clock.now += 1.5 * WINDOW
    assert answers(busy, 1) == [True]
