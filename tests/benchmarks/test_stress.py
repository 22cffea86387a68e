"""The promises for bad days, on a small scale: benchmarks/stress.py measures them in earnest."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.stressing.bundles import bundles
from benchmarks.stressing.calling import REFUSED, Outcome, Tally, percentile
from benchmarks.stressing.disk import disk_full
from benchmarks.stressing.promises import Promise, show
from benchmarks.stressing.replicas import Setting
from benchmarks.stressing.stopping import worker_killed
from benchmarks.stressing.traffic import mixed
from tests import pictures
from tests.services.conftest import write_colour_bundle


def test_a_broken_promise_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    kept, broken = Promise("one", "1", True), Promise("two", "2", False)
    assert show("scenario", [kept, Promise("said", "3")])
    assert not show("scenario", [kept, broken])
    assert "BROKEN" in capsys.readouterr().out


def test_outcomes_are_counted() -> None:
    outcomes = [Outcome(float(i), i / 100, 200) for i in range(100)]
    tally = Tally([*outcomes, Outcome(1, 1, error=REFUSED), Outcome(2, 1, error="lost: EOFError")])
    assert tally.statuses() == {"200": 100, REFUSED: 1, "lost: EOFError": 1}
    assert len(tally.lost()) == 1
    assert percentile(tally.answered(200), 0.99) == 0.99
    assert len(tally.between(10, 20).outcomes) == 10
    assert percentile([], 0.5) == 0.0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("scenario", [worker_killed, mixed, bundles, disk_full])
def test_promises_are_kept(scenario: Callable[[Setting], list[Promise]], tmp_path: Path) -> None:
    if scenario is disk_full and shutil.which("mount") is None:
        pytest.skip("a small disk cannot be mounted here")
    bundle = write_colour_bundle(tmp_path / "colours")
    scenes = [pictures.scene(800, 600, colour) for colour in ("red", "lime", "blue")]
    (tmp_path / "work").mkdir()
    setting = Setting(bundle, [pictures.jpeg(one) for one in scenes], tmp_path / "work", 40.0)
    promises = scenario(setting)
    assert promises
    assert show(scenario.__name__, promises), promises
