from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import psutil
import pytest

from batch.pool import ProcessPool, WorkersDieError
from porcelain.errors import UserError
from tests.batch.conftest import wait_for_end


@dataclass(frozen=True)
class Doubling:
    """Doubles numbers; some end the process, as a fault in a decoder does."""

    deadly: frozenset[int] = frozenset()
    wrong: int | None = None
    stillborn: bool = False

    def __call__(self, items: Sequence[int]) -> list[object]:
        for item in items:
            if item in self.deadly:
                os.kill(os.getpid(), signal.SIGSEGV)
            if item == self.wrong:
                raise UserError(f"{item} is wrong.")
        return [2 * item for item in items]

    def warm_up(self) -> None:
        if self.stillborn:
            os.kill(os.getpid(), signal.SIGKILL)

    def crashed(self, item: int) -> list[object]:
        return [f"{item} crashed"]


def doubled(work: Doubling, count: int, size: int = 4, workers: int = 2) -> list[object]:
    chunks = (range(start, min(start + size, count)) for start in range(0, count, size))
    with ProcessPool(work, workers) as pool:
        return [one for result in pool.map(chunks) for one in result]


def test_results_come_in_order() -> None:
    assert doubled(Doubling(), 101) == [2 * number for number in range(101)]
    assert doubled(Doubling(), 0) == []


def test_an_item_that_ends_its_process_costs_itself_alone() -> None:
    deadly = frozenset({5, 6})
    expected = [f"{n} crashed" if n in deadly else 2 * n for n in range(20)]
    assert doubled(Doubling(deadly), 20, size=2) == expected


def test_no_item_is_blamed_where_no_process_lives() -> None:
    with pytest.raises(WorkersDieError, match="end as soon as they start"):
        doubled(Doubling(frozenset({3}), stillborn=True), 8)


def test_a_mistake_in_the_work_is_told() -> None:
    with pytest.raises(UserError, match="7 is wrong"):
        doubled(Doubling(wrong=7), 60)


def test_chunks_are_taken_as_they_are_needed() -> None:
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield [taken]

    with ProcessPool(Doubling(), 1) as pool:
        results = pool.map(endless())
        assert [next(results) for _ in range(5)] == [[2], [4], [6], [8], [10]]
        assert taken < 10
        results.close()


PARENT = """
import sys, time
from batch.pool import ProcessPool
from tests.batch.test_pool import Doubling
if __name__ == "__main__":
    with ProcessPool(Doubling(), 2) as pool:
        results = pool.map([number] for number in iter(int, 1))
        next(results)
        print("working", flush=True)
        time.sleep(60)
"""


def test_processes_end_with_a_parent_that_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "working\n"
    children = psutil.Process(parent.pid).children(recursive=True)
    assert len(children) >= 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert not wait_for_end(children)
