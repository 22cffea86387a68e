"""Kill -9 at random moments: every input has one row, and no finished part is made again."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from batch.classify import classify
from batch.settings import ClassifySettings
from tests.batch.conftest import command, environment, run, wait_for_end, write_pictures

COUNT, PART = 1500, 50
KILLS = 4


class Job:
    """A command that is started again and again."""

    def __init__(self, folder: Path, paths: Path, bundle: Path) -> None:
        self.out = folder / "out.parquet"
        options = ("--part-size", PART, "--batch-size", 5, "--workers", 2)
        self.arguments = ("classify", paths, "--bundle", bundle, "--out", self.out, *options)

    def parts(self) -> dict[str, tuple[int, int]]:
        """The finished parts, each with what would change if it were made again."""
        found = {}
        for path in self.out.parent.glob(".*.partial/parts/part-*.parquet"):
            status = path.stat()
            found[path.name] = (status.st_ino, status.st_mtime_ns)
        return found

    def run_and_kill(self, rng: random.Random, most: int) -> bool:
        """Run until a random moment; returns whether it was killed before its end.

        The moment is one of the work, not of the clock: on a quick machine a time that
        was drawn would often come after the end.

        Args:
            rng: Draws the moment.
            most: Parts that may be finished by then.
        """
        before = len(self.parts())
        parts = rng.randint(before, max(before, most))
        process = subprocess.Popen(
            command(*self.arguments), env=environment(), stderr=subprocess.DEVNULL
        )
        while process.poll() is None and len(self.parts()) < parts:
            time.sleep(0.002)
        # While it starts, or somewhere within a part.
        time.sleep(rng.uniform(0, 0.02 if self.parts() else 0.5))
        if process.poll() is not None:  # it came to its end first
            assert process.returncode == 0
            return False
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        killed = process.wait() != 0
        assert not wait_for_end(children)
        return killed


def job_of(folder: Path, bundle: Path, count: int) -> tuple[Job, list[str]]:
    pictures = write_pictures(folder / "photos", 30)
    (pictures / "bad.jpg").write_bytes(b"\xff\xd8\xff bad")
    names = sorted(str(path) for path in pictures.rglob("*.jpg"))
    listed = [names[number % len(names)] for number in range(count)]
    (folder / "paths.txt").write_text("\n".join(listed))
    return Job(folder, folder / "paths.txt", bundle), listed


def check_result(job: Job, listed: list[str]) -> None:
    table = pq.read_table(job.out)
    assert table["index"].to_pylist() == list(range(len(listed)))
    assert table["path"].to_pylist() == listed
    for path, label, kind in zip(
        listed, table["type"].to_pylist(), table["error_kind"].to_pylist(), strict=True
    ):
        assert (kind is None) == (not path.endswith("bad.jpg"))
        assert (label is None) == path.endswith("bad.jpg")


def kill_and_finish(folder: Path, bundle: Path, count: int, kills: int) -> int:
    job, listed = job_of(folder, bundle, count)
    rng = random.Random()
    done, killed = job.parts(), 0
    while killed < kills and not job.out.exists():
        # The first is certain to come in time; those after it may meet the end of the work, too.
        killed += job.run_and_kill(rng, count // PART - (0 if killed else 5))
        if job.out.exists():
            break
        now = job.parts()
        assert done.items() <= now.items()  # none lost, none made again
        done = now
    run(*job.arguments) if not job.out.exists() else None
    check_result(job, listed)
    return killed


def test_killed_at_random_moments_no_row_is_lost_or_repeated(bundle, tmp_path) -> None:
    assert kill_and_finish(tmp_path, bundle, COUNT, KILLS) >= 1


@pytest.mark.slow
def test_killed_many_times(bundle, tmp_path) -> None:
    killed = 0
    for number in range(6):
        (tmp_path / str(number)).mkdir()
        killed += kill_and_finish(tmp_path / str(number), bundle, 3000, 6)
    assert killed > 12


def test_a_killed_run_and_a_whole_one_have_the_same_rows(bundle, tmp_path) -> None:
    for name in ("killed", "whole"):
        (tmp_path / name).mkdir()
    job, listed = job_of(tmp_path / "killed", bundle, 600)
    assert job.run_and_kill(random.Random(1), most=600 // PART - 5)
    run(*job.arguments)
    check_result(job, listed)
    whole = tmp_path / "whole" / "out.parquet"
    settings = ClassifySettings(part_size=PART, batch_size=5, workers=1)
    classify(str(tmp_path / "killed" / "paths.txt"), bundle, whole, settings)
    assert pq.read_table(whole).equals(pq.read_table(job.out))
