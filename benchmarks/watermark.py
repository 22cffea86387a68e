"""Does the watermark survive what happens to pictures, and how often is it seen where it is not?

Detection: photographs, their middle square scaled to 128, 256 and 512 pixels as generated pictures
are, marked, then damaged. `all` is one after the other: crop, half, JPEG. A crop leaves 90 % of
each side, anywhere. With --made, generated pictures (a folder) stand in for photographs.

False alarms: the same photographs at full size, not marked, as they are and damaged; and, because
a thousand photographs cannot show one alarm in a thousand, against --keys other patterns each. An
interval is Clopper and Pearson's, 95 %. Times are of the processor, on one core.

    python -m benchmarks.watermark --data DIR
"""

from __future__ import annotations

import io
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import binomtest

from porcelain.dataset import load_dataset
from porcelain.images import decode_image
from porcelain.watermark import KEY, detect_watermark, embed_watermark

Damage = Callable[[Image.Image, np.random.Generator], Image.Image]
SIZES = (128, 256, 512)
SHOWN_SIDE = 512


def jpeg(picture: Image.Image, _: np.random.Generator) -> Image.Image:
    """Compressed with quality 75, as most programs do unasked."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=75)
    return Image.open(buffer).convert("RGB")


def half(picture: Image.Image, _: np.random.Generator) -> Image.Image:
    """At half its width and height."""
    width, height = picture.size
    return picture.resize((width // 2, height // 2), Image.Resampling.BICUBIC)


def crop(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Without 10 % of its width and height."""
    width, height = (round(side * 0.9) for side in picture.size)
    left = int(rng.integers(0, picture.width - width + 1))
    top = int(rng.integers(0, picture.height - height + 1))
    return picture.crop((left, top, left + width, top + height))


def together(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Cropped, halved and compressed."""
    return jpeg(half(crop(picture, rng), rng), rng)


DAMAGES: dict[str, Damage] = {
    "as made": lambda picture, _: picture,
    "JPEG 75": jpeg,
    "half": half,
    "crop 10 %": crop,
    "all": together,
}


def scaled(picture: Image.Image, size: int) -> Image.Image:
    """The middle square at `size` pixels."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    return square.resize((size, size), Image.Resampling.LANCZOS)


def psnr(one: Image.Image, other: Image.Image) -> float:
    """Peak signal-to-noise ratio in dB, over the three channels."""
    difference = np.asarray(one, np.float64) - np.asarray(other, np.float64)
    return float(10 * np.log10(255**2 / np.mean(difference**2)))


def measure_detection(pictures: Sequence[Path], rng: np.random.Generator) -> Table:
    """How often the mark is found, per size and damage."""
    found: dict[tuple[int, str], list[bool]] = defaultdict(list)
    quality: dict[int, list[float]] = defaultdict(list)
    cost: dict[tuple[str, int], list[float]] = defaultdict(list)
    for path in track(pictures, "Detection"):
        whole = decode_image(path.read_bytes()).pixels
        for size in SIZES:
            plain = scaled(whole, size)
            pixels = np.asarray(plain)
            started = time.thread_time()
            marked = Image.fromarray(embed_watermark(pixels))
            cost["embed", size].append(time.thread_time() - started)
            quality[size].append(psnr(plain, marked))
            for name, damage in DAMAGES.items():
                damaged = damage(marked, rng)
                started = time.thread_time()
                found[size, name].append(detect_watermark(damaged).present)
                if name == "as made":
                    cost["detect", size].append(time.thread_time() - started)
    table = Table("", *(f"{size} px" for size in SIZES), title=f"{len(pictures)} pictures")
    for name in DAMAGES:
        table.add_row(f"found, {name}", *(_share(found[size, name]) for size in SIZES))
    table.add_row("PSNR, mean", *(f"{np.mean(quality[size]):.1f} dB" for size in SIZES))
    table.add_row("PSNR, least", *(f"{min(quality[size]):.1f} dB" for size in SIZES))
    for what in ("embed", "detect"):
        times = (1e3 * float(np.median(cost[what, size])) for size in SIZES)
        table.add_row(f"{what}, median", *(f"{value:.1f} ms" for value in times))
    return table


def measure_false_alarms(pictures: Sequence[Path], keys: int, rng: np.random.Generator) -> Table:
    """How often the mark is seen on photographs that do not carry it."""
    alarms: dict[tuple[str, str], list[bool]] = defaultdict(list)
    highest = 0.0
    for path in track(pictures, "False alarms"):
        whole = decode_image(path.read_bytes()).pixels
        for name, damage in DAMAGES.items():
            detection = detect_watermark(damage(whole, rng))
            alarms[name, "the pattern"].append(detection.present)
            highest = max(highest, detection.score)
        small = scaled(whole, SHOWN_SIDE)
        for number in range(keys):
            detection = detect_watermark(small, KEY + f"/{number}".encode())
            alarms[f"{SHOWN_SIDE} px", f"{keys} others"].append(detection.present)
            highest = max(highest, detection.score)
    title = f"{len(pictures)} photographs; highest score {highest:.2f}"
    table = Table("photographs", "pattern", "alarms", "share, 95 % interval", title=title)
    for (name, pattern), seen in alarms.items():
        table.add_row(name, pattern, f"{sum(seen)} of {len(seen)}", _share(seen, 4))
    return table


def _share(outcomes: Sequence[bool], digits: int = 2) -> str:
    interval = binomtest(sum(outcomes), len(outcomes)).proportion_ci()
    low, high = (f"{100 * bound:.{digits}f}" for bound in interval)
    return f"{100 * np.mean(outcomes):.{digits}f} % ({low} to {high})"


def main(
    data: Annotated[Path, typer.Option(help="Dataset folder of photographs.")],
    made: Annotated[Path | None, typer.Option(help="Folder of generated pictures.")] = None,
    count: Annotated[int, typer.Option(help="Pictures to measure detection on.")] = 300,
    photographs: Annotated[int | None, typer.Option(help="Photographs; all.")] = None,
    keys: Annotated[int, typer.Option(help="Other patterns to look for.")] = 20,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Print what survives and what is seen by mistake."""
    dataset = load_dataset(data)
    rng = np.random.default_rng(seed)
    everything = [dataset.path(record) for record in dataset.records]
    real = [everything[i] for i in rng.permutation(len(everything))]
    generated = real if made is None else sorted(made.rglob("*.png"))
    console = Console(width=120)
    console.print(measure_detection(generated[:count], rng))
    console.print(measure_false_alarms(real[:photographs], keys, rng))


if __name__ == "__main__":
    typer.run(main)
