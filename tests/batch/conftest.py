from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.pictures import jpeg, scene
from tests.services.conftest import write_colour_bundle

COLOURS = ("red", "lime", "blue")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier bundle that answers red, green or blue."""
    return write_colour_bundle(tmp_path_factory.mktemp("bundle") / "colours")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six pictures in two folders."""
    return write_pictures(tmp_path / "photos", 6, folders=2)


def write_pictures(folder: Path, count: int, folders: int = 1) -> Path:
    """Pictures in turn red, green and blue: `0/000000.jpg` and so on."""
    contents = [jpeg(scene(colour=colour)) for colour in COLOURS]
    for number in range(count):
        path = folder / str(number * folders // count) / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[number % 3])
    return folder


def command(*arguments: object) -> list[str]:
    """`porcelain batch ...` as a process."""
    return [sys.executable, "-m", "porcelain", "batch", *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}


def run(*arguments: object, stdin: str = "", check: int = 0) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    done = subprocess.run(
        command(*arguments),
        input=stdin,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=300,
        check=False,
    )
    assert done.returncode == check, done.stderr
    assert "Traceback" not in done.stderr
    return done


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended; one that nobody has waited for has."""
    found = []
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def wait_for_end(processes: list[psutil.Process], seconds: float = 60) -> list[psutil.Process]:
    """Wait; returns those that are still there."""
    deadline = time.monotonic() + seconds
    while alive(processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    return alive(processes)
