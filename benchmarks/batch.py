"""Measures `porcelain batch classify` beside the same work in process, in turns.

    python -m benchmarks.batch [--bundle DIR] [--pictures DIR] [--rounds N]
    python -m benchmarks.batch --growth 1000,5000,20000

Each round measures
1. ours: the command as a user types it, on a list of pictures, two processes;
2. the limit: the same decoding and inference in two threads or two processes, whichever is
   faster, on the same files; no command, no listing, no rows, nothing written.

Ours is given twice: the whole command, and from its first row on, which is what a collection of
any size comes to. Ratios are medians over rounds. Processor time per picture says the same with
less noise where other work takes the cores.

With --growth no limit runs beside: it shows how time and memory grow with the collection.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.corpus import ORIGINALS, SHARES, add_input_options, make_corpus
from benchmarks.references.in_process import Rate, with_processes, with_threads
from benchmarks.references.random_bundle import chosen_bundle

WORKERS = 2


@dataclass
class Watched:
    """What a command used, with its child processes.

    Attributes:
        seconds: From start to end.
        cpu: Processor seconds of all its processes.
        memory: Most bytes that all held together (proportional set size).
        parent: Most bytes that the first process held.
    """

    seconds: float = 0.0
    cpu: float = 0.0
    memory: int = 0
    parent: int = 0
    _cpu: dict[int, float] = field(default_factory=dict)

    def look(self, process: psutil.Process) -> None:
        """Sum up all processes now."""
        total = 0
        for one in [process, *process.children(recursive=True)]:
            try:
                held = one.memory_full_info().pss
                times = one.cpu_times()
            except psutil.Error:
                continue
            total += held
            self._cpu[one.pid] = times.user + times.system
            if one.pid == process.pid:
                self.parent = max(self.parent, held)
        self.memory = max(self.memory, total)
        self.cpu = sum(self._cpu.values())


def watch(command: list[str]) -> tuple[Watched, str]:
    """Run a command to its end; returns what it used and said on standard output."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    watched, seen = Watched(), psutil.Process(process.pid)

    def keep_looking() -> None:
        while process.poll() is None:
            try:
                watched.look(seen)
            except psutil.Error:
                return
            time.sleep(0.2)

    watcher = threading.Thread(target=keep_looking)
    watcher.start()
    out, err = process.communicate()
    watcher.join()
    watched.seconds = time.perf_counter() - begun
    if process.returncode:
        raise SystemExit(err)
    return watched, out


def environment() -> dict[str, str]:
    """One thread for each process of ours."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def ours_command(bundle: Path, listed: Path, out: Path, *options: str) -> list[str]:
    """Our command as a user types it."""
    command = [sys.executable, "-m", "porcelain", "batch", "classify", str(listed)]
    command += ["--bundle", str(bundle), "--out", str(out), "--workers", str(WORKERS)]
    return [*command, "--overwrite", "--json", *options]


def measure_steady(bundle: Path, listed: Path, count: int, folder: Path) -> Rate:
    """Pictures per second and processor time from the first row on, in this process."""
    from batch.classify import classify
    from batch.settings import ClassifySettings

    first: list[float] = []
    used: list[float] = []
    here = psutil.Process()

    def on_progress(done: int, total: int, errors: int) -> None:
        del total, errors
        if done and not first:
            first.extend((time.perf_counter(), done))
            used.append(cpu_of(here))
        if done == count:
            first.append(time.perf_counter())
            used.append(cpu_of(here))

    settings = ClassifySettings(workers=WORKERS)
    classify(
        str(listed), bundle, folder / "s.parquet", settings, overwrite=True, on_progress=on_progress
    )
    begun, before, ended = first
    rows = count - before
    return Rate(rows / (ended - begun), (used[1] - used[0]) / rows * 1000)


def cpu_of(process: psutil.Process) -> float:
    """Processor seconds so far of a process and those that it started."""
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        try:
            times = one.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total


def compare(bundle: Path, options: argparse.Namespace, folder: Path) -> None:
    """The rounds, and their table."""
    shares = ORIGINALS if options.originals else SHARES
    corpus = make_corpus(options.pictures, options.distinct, shares)
    files = write_files(corpus.pictures, folder)
    listed = write_list(files, options.count, folder)
    by_threads = with_threads(bundle, corpus.pictures, 2.0, WORKERS).throughput
    by_processes = with_processes(bundle, corpus.pictures, 2.0, WORKERS).throughput
    limit_of = with_threads if by_threads >= by_processes else with_processes
    whole: list[Rate] = []
    steady: list[Rate] = []
    limits: list[Rate] = []
    for number in range(options.rounds):
        watched, _ = watch(ours_command(bundle, listed, folder / "out.parquet"))
        whole.append(Rate(options.count / watched.seconds, watched.cpu / options.count * 1000))
        before = limit_of(bundle, corpus.pictures, options.seconds / 2, WORKERS)
        steady.append(measure_steady(bundle, listed, options.count, folder))
        after = limit_of(bundle, corpus.pictures, options.seconds / 2, WORKERS)
        limits.append(
            Rate((before.throughput + after.throughput) / 2, (before.cpu + after.cpu) / 2)
        )
        print(
            f"round {number + 1}: command {whole[-1].throughput:.1f}/s, from the first row on "
            f"{steady[-1].throughput:.1f}/s, limit {limits[-1].throughput:.1f}/s",
            file=sys.stderr,
        )
    report(whole, steady, limits, f"{options.count} pictures a round; {corpus.description}")


def report(whole: list[Rate], steady: list[Rate], limits: list[Rate], description: str) -> None:
    """Print rates and ratios."""
    console = Console(width=100)
    table = Table(title=f"Batch classify, {WORKERS} processes")
    for column in ("", "pictures/s", "CPU ms/picture"):
        table.add_column(column, justify="right" if column else "left")
    for name, rates in (
        ("the whole command", whole),
        ("from its first row on", steady),
        ("the limit, in process", limits),
    ):
        values = [
            statistics.median(getattr(one, key) for one in rates) for key in ("throughput", "cpu")
        ]
        table.add_row(name, *(f"{value:.1f}" for value in values))
    console.print(table)
    console.print(description)
    for name, rates in (("the whole command", whole), ("from the first row on", steady)):
        pairs = list(zip(rates, limits, strict=True))
        for what, values in (
            ("throughput, ours / limit", [a.throughput / b.throughput for a, b in pairs]),
            ("processor time, limit / ours", [b.cpu / a.cpu for a, b in pairs]),
        ):
            console.print(
                f"{name}: {what}: {statistics.median(values):.2f} "
                f"({min(values):.2f} to {max(values):.2f}; wanted >= 0.9)"
            )


def growth(bundle: Path, options: argparse.Namespace, folder: Path) -> None:
    """Time and memory of collections of several sizes."""
    if options.pictures:
        files = sorted(path for path in options.pictures.rglob("*.jpg"))
    else:
        files = write_files(make_corpus(None, options.distinct, ORIGINALS).pictures, folder)
    table = Table(title="Batch classify as a collection grows")
    for column in (
        "pictures",
        "seconds",
        "CPU s",
        "CPU ms each",
        "peak MB, all",
        "peak MB, parent",
    ):
        table.add_column(column, justify="right")
    for count in map(int, options.growth.split(",")):
        listed = write_list(files, count, folder)
        watched, out = watch(ours_command(bundle, listed, folder / "out.parquet"))
        summary = json.loads(out)
        if summary["rows"] != count or summary["errors"]:
            raise SystemExit(f"{count} pictures gave {summary}")
        table.add_row(
            f"{count:,}",
            f"{watched.seconds:.1f}",
            f"{watched.cpu:.1f}",
            f"{watched.cpu / count * 1000:.2f}",
            f"{watched.memory / 1e6:.0f}",
            f"{watched.parent / 1e6:.0f}",
        )
        print(f"{count}: {watched.seconds:.1f} s, {watched.memory / 1e6:.0f} MB", file=sys.stderr)
    Console(width=100).print(table)


def write_files(pictures: list[bytes], folder: Path) -> list[Path]:
    """Each picture as a file."""
    files = []
    for number, picture in enumerate(pictures):
        files.append(folder / f"{number:06}.jpg")
        files[-1].write_bytes(picture)
    return files


def write_list(files: list[Path], count: int, folder: Path) -> Path:
    """A list of `count` paths that repeats the files."""
    path = folder / f"{count}.txt"
    path.write_text("".join(f"{files[n % len(files)].resolve()}\n" for n in range(count)))
    return path


def main() -> None:
    """Parse options and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add_input_options(parser)
    parser.add_argument("--distinct", type=int, default=80, help="different pictures in the mix")
    parser.add_argument("--count", type=int, default=1000, help="pictures a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="of the limit, a round")
    parser.add_argument("--growth", help="sizes of collections, such as 1000,5000,20000")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="porcelain-bench-") as name:
        folder = Path(name)
        bundle = chosen_bundle(options, folder)
        (growth if options.growth else compare)(bundle, options, folder)


if __name__ == "__main__":
    main()
