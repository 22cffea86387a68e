"""Pictures per second of `porcelain data render`, start-up included.

    python -m benchmarks.render [--count N] [--size PX]

Per core is per second of processor time, which other work on the machine does not change.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from training.data.rendering.render import World, render_dataset


def main(
    count: Annotated[int, typer.Option(min=1, help="Pictures to render.")] = 240,
    size: Annotated[int, typer.Option(min=32, help="Side in pixels.")] = 224,
    workers: Annotated[int | None, typer.Option(help="Processes; default one per core.")] = None,
) -> None:
    """Render into a temporary folder and print the rates."""
    with tempfile.TemporaryDirectory() as folder:
        started, before = time.perf_counter(), os.times()
        render_dataset(Path(folder) / "rendered", World(0, size), count, workers=workers)
        seconds, after = time.perf_counter() - started, os.times()
    processor = sum(after[:4]) - sum(before[:4])
    print(f"{count} pictures at {size} px in {seconds:.1f} s: {count / seconds:.1f} pictures/s")
    print(f"{processor:.1f} s of processor time: {count / processor:.2f} pictures/s per core")


if __name__ == "__main__":
    typer.run(main)
