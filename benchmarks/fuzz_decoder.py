"""Damages pictures of every accepted format in many ways and decodes them.

    python -m benchmarks.fuzz_decoder --inputs 100000

Each input must be decoded, or refused as unusable, within the time limit; nothing else may happen.
Workers are processes that a crash ends, so that a crash is counted and its input is kept.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from PIL import Image

from porcelain.errors import ImageError
from porcelain.images import DecodeLimits, decode_image
from porcelain.preparation import prepare
from tests import pictures

LIMITS = DecodeLimits(max_pixels=16_000_000)
SECONDS = 2.0
"""In which an input must be answered; the largest picture allowed takes a quarter of it."""
HANGING = 30.0
"""After which a worker is given up."""
SIDE = 160
BATCH = 200
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


@dataclass(frozen=True)
class Fault:
    """What must not happen.

    Attributes:
        seed: Makes the input again.
        format: Of the picture it was made from.
        what: An exception, a crash, or the seconds it took.
    """

    seed: int
    format: str
    what: str


def originals(folder: Path | None) -> list[tuple[str, bytes]]:
    """Pictures of every format and colour mode, from photographs if there are any."""
    sources = [pictures.scene(SIDE, SIDE * 2 // 3), pictures.grainy()]
    if folder is not None:
        files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in (".jpg", ".jpeg"))[:8]
        sources = [_small(file) for file in files]
    found = [
        (name, data)
        for image in sources
        for name, (data, _) in pictures.every_format(image).items()
    ]
    exif = [(f"jpeg turned {i}", pictures.rotated_jpeg(i)) for i in (2, 5, 8)]
    heic = [(f"heic {name}", pictures.heic(name)) for name in ("turned", "several", "ten_bits")]
    deep = np.asarray(sources[0].resize((96, 64))).astype(np.uint16) << 4
    tiffs = [
        ("12-bit tiff", pictures.tiff_of(deep, 12, order=">", deflate=True)),
        ("10-bit grey tiff", pictures.tiff_of(deep[..., :1] >> 2, 10, planar=True)),
        ("float tiff", pictures.tiff_of(deep / 4095, 32, sample_format=3, thumbnail_first=True)),
    ]
    grey = ("16-bit grey png", pictures.grey_16_bit())
    return [*found, *exif, *heic, *tiffs, grey]


def _small(file: Path) -> Image.Image:
    image = Image.open(file).convert("RGB")
    image.thumbnail((SIDE, SIDE))
    return image


def damaged(seed: int, pool: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """One input: a picture with a few of the damages below; the same seed gives the same."""
    rng = np.random.default_rng(seed)
    name, whole = pool[rng.integers(len(pool))]
    data = bytearray(whole)
    for _ in range(rng.integers(1, 6)):
        # Headers decide most, so that half of all damage is done near the beginning.
        end = len(data) if rng.random() < 0.5 else min(len(data), 200)
        place = int(rng.integers(max(1, end)))
        match rng.integers(8):
            case 0:
                data[place : place + 1] = bytes([rng.integers(256)])
            case 1:
                data[place : place + 1] = bytes([data[place] ^ (1 << rng.integers(8))])
            case 2:
                value = INTERESTING[rng.integers(len(INTERESTING))]
                size, order = int(rng.choice([1, 2, 4])), ("big", "little")[rng.integers(2)]
                data[place : place + size] = (value % 256**size).to_bytes(size, order)
            case 3:
                del data[place : place + int(rng.integers(1, 64))]
            case 4:
                data[place:place] = rng.bytes(int(rng.integers(1, 64)))
            case 5:
                length = int(rng.integers(1, 128))
                source = int(rng.integers(len(data)))
                data[place : place + length] = data[source : source + length]
            case 6:
                del data[max(8, place) :]
            case _:
                other = pool[rng.integers(len(pool))][1]
                data[place:] = other[int(rng.integers(len(other))) :]
        if not data:
            data = bytearray(b"\0")
    return name, bytes(data)


def answer(data: bytes) -> str:
    """`decoded`, or why the picture is refused; anything else is raised."""
    try:
        decoded = decode_image(data, longest_side=256, limits=LIMITS)
        pixels = prepare(decoded.pixels)
    except ImageError as error:
        return error.reason
    if pixels.shape != (224, 224, 3) or decoded.pixels.mode != "RGB":
        raise ValueError(f"decoded to {decoded.pixels.mode} {pixels.shape}")
    return "decoded"


def work(seeds: range, folder: Path | None, results: Connection) -> None:
    """Decode the inputs of `seeds`; says each seed before it begins with it."""
    warnings.simplefilter("ignore")
    # Native libraries complain on standard error.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    pool = originals(folder)
    for seed in seeds:
        name, data = damaged(seed, pool)
        results.send((seed, name, None, 0.0))
        begun = time.perf_counter()
        try:
            outcome = answer(data)
        except BaseException as error:  # noqa: BLE001 - every kind is a finding
            outcome = f"! {type(error).__name__}: {error}"
        results.send((seed, name, outcome, time.perf_counter() - begun))
    results.send(None)


def run(
    inputs: int, processes: int, folder: Path | None, first: int = 0
) -> tuple[collections.Counter[str], list[Fault], float]:
    """Outcomes, faults, and the longest that an answer took."""
    outcomes, faults, longest = collections.Counter[str](), list[Fault](), 0.0
    step = -(-inputs // processes)
    ranges = [
        range(start, min(start + step, first + inputs))
        for start in range(first, first + inputs, step)
    ]
    for seed, name, outcome, seconds in _in_parallel(ranges, folder):
        if outcome.startswith("!"):
            faults.append(Fault(seed, name, outcome))
            outcomes["fault"] += 1
            continue
        outcomes[outcome] += 1
        longest = max(longest, seconds)
        if seconds > SECONDS:
            faults.append(Fault(seed, name, f"{seconds:.1f} s"))
    return outcomes, faults, longest


def _in_parallel(ranges: list[range], folder: Path | None) -> Iterator[tuple[int, str, str, float]]:
    """Results of all; where a process crashed or hangs, another goes on after its input."""
    context = multiprocessing.get_context("spawn")
    waiting = list(ranges)
    running: dict[Connection, tuple[multiprocessing.process.BaseProcess, range]] = {}
    last: dict[Connection, tuple[int, str]] = {}
    while waiting or running:
        while waiting:
            seeds = waiting.pop()
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=work, args=(seeds, folder, theirs), daemon=True)
            process.start()
            theirs.close()
            running[ours] = process, seeds
        ready = multiprocessing.connection.wait(list(running), timeout=HANGING)
        for connection in ready or list(running):
            assert isinstance(connection, Connection)
            process, seeds = running[connection]
            try:
                result = connection.recv() if ready else None
                ended = result is None and bool(ready)
            except EOFError:
                result, ended = None, False
            if ended:
                process.join()
                del running[connection]
            elif result is None:
                process.kill()
                process.join()
                del running[connection]
                seed, name = last.get(connection, (seeds.start, "unknown"))
                what = f"! crash, status {process.exitcode}" if ready else "! hangs"
                yield seed, name, what, 0.0
                if seed + 1 < seeds.stop:
                    waiting.append(range(seed + 1, seeds.stop))
            elif result[2] is None:
                last[connection] = result[0], result[1]
            else:
                yield result


def main() -> None:
    """Parse options and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--pictures", type=Path, help="folder of JPEGs to start from")
    options = parser.parse_args()
    begun = time.perf_counter()
    outcomes, faults, longest = run(
        options.inputs, options.processes, options.pictures, options.first
    )
    seconds = time.perf_counter() - begun
    for outcome, count in outcomes.most_common():
        print(f"{outcome:12} {count:>9,}")
    print(
        f"{sum(outcomes.values()):,} inputs of {len(originals(options.pictures))} pictures in "
        f"{seconds:.0f} s; the longest took {longest:.2f} s (at most {SECONDS:g} wanted)"
    )
    for fault in faults[:20]:
        print(f"FAULT: seed {fault.seed}, {fault.format}: {fault.what}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
