"""Damaged pictures of every format are decoded or refused, quickly, and nothing else happens."""

from __future__ import annotations

import pytest

from benchmarks import fuzz_decoder
from benchmarks.fuzz_decoder import answer, damaged, originals, run
from tests import pictures


def test_inputs_are_made_again_by_their_seeds_and_differ() -> None:
    pool = originals(None)
    some = [damaged(seed, pool) for seed in range(200)]
    assert some == [damaged(seed, pool) for seed in range(200)]
    assert len({data for _, data in some}) > 190
    assert {name for name, _ in pool} >= set(pictures.every_format())


def test_the_originals_are_decoded() -> None:
    assert {answer(data) for _, data in originals(None)} == {"decoded"}


def test_a_few_thousand_inputs() -> None:
    outcomes, faults, longest = run(3000, processes=1, folder=None, first=1_000_000)
    assert faults == []
    assert sum(outcomes.values()) == 3000
    assert min(outcomes["decoded"], outcomes["corrupt"]) > 100
    assert longest < fuzz_decoder.SECONDS


def test_faults_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(ranges: list[range], _: object) -> object:
        yield ranges[0][0], "png", "! crash, status -11", 0.0
        yield ranges[0][1], "png", "decoded", 9.0

    monkeypatch.setattr(fuzz_decoder, "_in_parallel", broken)
    _, faults, _ = run(2, processes=1, folder=None)
    assert [fault.what for fault in faults] == ["! crash, status -11", "9.0 s"]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_hundred_thousand_inputs() -> None:
    outcomes, faults, _ = run(100_000, processes=2, folder=None)
    assert faults == []
    assert sum(outcomes.values()) == 100_000
