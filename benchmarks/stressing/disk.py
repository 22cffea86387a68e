"""A disk that fills up during a batch job and during training."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from benchmarks.stressing.promises import Promise
from benchmarks.stressing.replicas import Setting

SMALL: Final = 192 * 1024
"""Bytes of a disk that holds the first parts of a batch job, not all."""
LARGER: Final = 64 * 1024 * 1024
BESIDE_BUNDLE: Final = 1024 * 1024
"""Bytes of a disk beside an earlier bundle: too few for another."""
PICTURES: Final = 60
KINDS: Final = ("bowl", "vase", "dish")


def disk_full(setting: Setting) -> list[Promise]:
    """One clear line, and what was there before is still there."""
    if os.geteuid() != 0:
        return [Promise("needs root, to mount a small disk", "skipped")]
    with small_disk(setting.folder / "small", SMALL) as disk:
        rows = _batch(setting, disk)
    size = sum(file.stat().st_size + 4096 for file in setting.bundle.rglob("*"))
    with small_disk(setting.folder / "training", size + BESIDE_BUNDLE) as disk:
        return rows + _training(setting, disk)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system of so many bytes for the length of the block."""
    folder.mkdir(exist_ok=True)
    _mount(folder, f"size={size}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mount(folder: Path, options: str) -> None:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    subprocess.run(command, check=True, capture_output=True)


def _batch(setting: Setting, disk: Path) -> list[Promise]:
    photos = _photographs(setting, PICTURES)
    earlier, out = disk / "earlier.parquet", disk / "labels.parquet"
    first = _photographs(setting, 5)
    command = ["batch", "classify", str(first), "--bundle", str(setting.bundle)]
    _porcelain(*command, "--out", str(earlier))
    before = earlier.read_bytes()
    command[2] = str(photos)
    command += ["--out", str(out), "--part-size", "5", "--workers", "1"]
    (disk / "filler").write_bytes(bytes(_free(disk) - 40 * 1024))
    full = _porcelain(*command)
    kept = earlier.read_bytes() == before and not out.exists()
    (disk / "filler").unlink()
    _mount(disk, f"remount,size={LARGER}")
    again = _porcelain(*command)
    table = pq.read_table(out) if out.exists() else None
    rows = 0 if table is None else table.num_rows
    return [
        _one_line("a batch job on a full disk says so in one line", full),
        Promise("batch: earlier results are intact", f"{kept}", kept),
        Promise(
            "batch: with room, the same command goes on and has all",
            f"status {again.returncode}, {rows} of {PICTURES} rows",
            again.returncode == 0 and rows == PICTURES,
        ),
    ]


def _training(setting: Setting, disk: Path) -> list[Promise]:
    data = _dataset(setting)
    out = disk / "classifier"
    shutil.copytree(setting.bundle, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    command = ["classifier", "train", "--data", str(data), "--out", str(out), "--overwrite"]
    command += ["--backbone", "mobilenetv3_small_050", "--pretrained", "none", "--epochs", "1"]
    full = _porcelain(*command, "--no-refit")
    intact = all(path.exists() and path.read_bytes() == was for path, was in before.items())
    return [
        _one_line("training on a full disk says so in one line", full),
        Promise("training: the bundle that was there is intact", f"{intact}", intact),
    ]


def _one_line(what: str, done: subprocess.CompletedProcess[str]) -> Promise:
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    traceback = "Traceback" in done.stderr
    said = errors[0] if errors else done.stderr[-80:]
    return Promise(
        what,
        f"status {done.returncode}: {said[:90]}",
        done.returncode != 0 and len(errors) == 1 and not traceback,
    )


def _photographs(setting: Setting, count: int) -> Path:
    folder = setting.folder / f"photographs-{count}"
    folder.mkdir(exist_ok=True)
    for number in range(count):
        picture = setting.pictures[number % len(setting.pictures)]
        (folder / f"{number:04d}.jpg").write_bytes(picture)
    return folder


def _dataset(setting: Setting) -> Path:
    """A dataset folder that training takes: labels are made up, and each picture is an object."""
    folder = setting.folder / "dataset"
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with (folder / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "dynasty", "glaze", "kiln", "type"])
        for number in range(PICTURES):
            name = f"images/{number:04d}.jpg"
            (folder / name).write_bytes(setting.pictures[number % len(setting.pictures)])
            kind = number % len(KINDS)
            labels = ("ming", "qing", "song")[kind], ("celadon", "white", "blue")[kind]
            writer.writerow([name, *labels, ("ding", "ru", "jun")[kind], KINDS[kind]])
    return folder


def _free(disk: Path) -> int:
    return shutil.disk_usage(disk).free


def _porcelain(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "porcelain", *words]
    environment = {**os.environ, "COLUMNS": "500", "TERM": "dumb"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=600, check=False, env=environment
    )
