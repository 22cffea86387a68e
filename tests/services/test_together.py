"""Services started and stopped as one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from porcelain.errors import PorcelainError
from services.together import run_together

WAITING = "import sys, time; open(sys.argv[1], 'w').write('x'); time.sleep(60)"


def _wait_for(condition: object, seconds: float = 20) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_when_one_ends_the_others_end_and_the_error_names_it(tmp_path: Path) -> None:
    commands = {
        "patient": [sys.executable, "-c", WAITING, str(tmp_path / "up")],
        "hasty": [sys.executable, "-c", "raise SystemExit(3)"],
    }
    with pytest.raises(PorcelainError, match=r"hasty ended by itself \(status 3\)"):
        run_together(commands, grace_seconds=5)
    left = [p for p in psutil.Process().children() if "time.sleep(60)" in " ".join(p.cmdline())]
    assert left == []


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_told_to_stop_it_stops_all_and_ends_well(tmp_path: Path, number: signal.Signals) -> None:
    program = (
        "import sys; from services.together import run_together; "
        "run_together({n: [sys.executable, '-c', sys.argv[1], sys.argv[2] + n] for n in 'ab'}, 5)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, WAITING, str(tmp_path / "up-")])
    _wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
    children = psutil.Process(process.pid).children()
    assert len(children) == 2
    process.send_signal(number)
    assert process.wait(20) == 0
    assert not any(child.is_running() for child in children)
