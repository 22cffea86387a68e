from __future__ import annotations

import pytest

from batch.progress import Rate, describe, duration, showing


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_is_of_late() -> None:
    clock = Clock()
    rate = Rate(clock)
    assert rate.seconds_left(10) is None
    rate.update(500)  # made by an earlier run, at no rate of ours
    for second in range(1, 301):
        clock.now = float(second)
        rate.update(500 + 10 * min(second, 200) + 2 * max(0, second - 200))
    assert rate.per_second == pytest.approx(2.0)
    assert rate.seconds_left(60) == pytest.approx(30.0)
    assert describe(750, 1000, 3, rate) == "750 of 1,000 (75.0%), 2.0/s, 2 min left, 3 errors"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (12000, "3 h 20 min")],
)
def test_durations_are_for_people(seconds, text) -> None:
    assert duration(seconds) == text


def test_a_log_gets_lines_and_not_too_many(capsys, monkeypatch) -> None:
    clock = Clock()
    monkeypatch.setattr("batch.progress.time.monotonic", clock)
    with showing("Classify") as on_progress:
        for second in range(61):
            clock.now = float(second)
            on_progress(second * 10, 1000, 0)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("Classify: 150 of 1,000 (15.0%)")
