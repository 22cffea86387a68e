"""Is the class-activation map faithful? Masking what it shows must hurt more than masking chance.

For every photograph and task, the hottest 20 % of the photograph's pixels (the map's cells,
upsampled bicubically as people see them, margins left out) are hidden, and the drop of the
predicted class's probability is compared with the mean drop over random masks of equal area:

- blocks: the hottest 20 % of a random map with the same grid, upsampled the same way, so that
  the hidden patches have the same grain;
- pixels: single pixels drawn at random.

Hidden pixels take the photograph's mean colour (`mean`) or those of a heavily blurred copy
(`blur`, Gaussian, radius a tenth of the side).

    python benchmarks/explanation.py --bundle DIR --data DIR
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from PIL import Image, ImageFilter
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import binomtest

from porcelain.bundle import load_bundle
from porcelain.dataset import load_dataset
from porcelain.errors import ImageError, PorcelainError
from porcelain.predictor import Predictor
from porcelain.preparation import Pixels, content_box, decode_and_prepare
from training.classifier.evaluation.selection import Subset, select

HIDDEN = 0.2
TARGET = 0.8
FILLS = ("mean", "blur")
RANDOM_MASKS = ("blocks", "pixels")

FloatArray = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass
class Drops:
    """Falls of the predicted class's probability, one entry a photograph.

    Attributes:
        hottest: With the hottest part hidden.
        random: Mean with random parts hidden, per kind of random mask.
    """

    hottest: list[float] = field(default_factory=list)
    random: dict[str, list[float]] = field(default_factory=lambda: {k: [] for k in RANDOM_MASKS})


def hottest_mask(cells: FloatArray, size: int, box: tuple[int, int, int, int]) -> Mask:
    """The hottest 20 % of the pixels in `box`, exactly.

    Args:
        cells: A map [h, w].
        size: Side of the model's square.
        box: Left, top, right and bottom of the photograph in the square.
    """
    values = np.asarray(Image.fromarray(cells).resize((size, size), Image.Resampling.BICUBIC))
    return _largest(values, box)


def random_pixels(size: int, box: tuple[int, int, int, int], rng: np.random.Generator) -> Mask:
    """20 % of the pixels in `box`, drawn one by one."""
    return _largest(rng.random((size, size), dtype=np.float32), box)


def _largest(values: FloatArray, box: tuple[int, int, int, int]) -> Mask:
    left, top, right, bottom = box
    inside = values[top:bottom, left:right]
    count = round(HIDDEN * inside.size)
    chosen = np.zeros(inside.size, dtype=np.bool_)
    chosen[np.argsort(-inside, axis=None, kind="stable")[:count]] = True
    mask = np.zeros(values.shape, dtype=np.bool_)
    mask[top:bottom, left:right] = chosen.reshape(inside.shape)
    return mask


def filling(pixels: Pixels, box: tuple[int, int, int, int], fill: str) -> Pixels:
    """What shows where a mask hides the photograph: uint8 [size, size, 3]."""
    if fill == "blur":
        blur = ImageFilter.GaussianBlur(len(pixels) / 10)
        return np.asarray(Image.fromarray(pixels).filter(blur))
    left, top, right, bottom = box
    colour = pixels[top:bottom, left:right].mean(axis=(0, 1)).round().astype(np.uint8)
    return np.broadcast_to(colour, pixels.shape)


def measure(
    predictor: Predictor,
    pixels: Pixels,
    box: tuple[int, int, int, int],
    masks: int,
    rng: np.random.Generator,
    drops: dict[str, dict[str, Drops]],
) -> None:
    """Add one photograph's drops for every task and fill.

    Args:
        predictor: Of the bundle.
        pixels: The prepared photograph.
        box: Where it lies in the square.
        masks: Random masks of each kind.
        rng: Draws them.
        drops: Per task and fill.
    """
    before = predictor.run(pixels[np.newaxis], activation=True)
    if before.activation is None:
        raise RuntimeError("The predictor returned no activation maps.")
    size, maps = len(pixels), before.activation[0]
    hidden = [hottest_mask(cells, size, box) for cells in maps]
    for _ in range(masks):
        cells = rng.random(maps.shape[1:], dtype=np.float32)
        hidden.append(hottest_mask(cells, size, box))
    hidden += [random_pixels(size, box, rng) for _ in range(masks)]
    stacked = np.stack(hidden)[..., np.newaxis]
    for fill in FILLS:
        after = predictor.run(np.where(stacked, filling(pixels, box, fill), pixels))
        for row, task in enumerate(predictor.tasks):
            answer = int(before.probabilities[task][0].argmax())
            fall = before.probabilities[task][0, answer] - after.probabilities[task][:, answer]
            kinds = np.split(fall[len(maps) :], len(RANDOM_MASKS))
            drops[task][fill].hottest.append(float(fall[row]))
            for kind, values in zip(RANDOM_MASKS, kinds, strict=True):
                drops[task][fill].random[kind].append(float(values.mean()))


def prepared(
    predictor: Predictor, paths: Sequence[Path]
) -> Iterator[tuple[Pixels, tuple[int, int, int, int]]]:
    """Each readable photograph and where it lies in the square."""
    info = predictor.info

    def prepare(path: Path) -> tuple[Pixels, tuple[int, int, int, int]] | None:
        try:
            pixels, decoded = decode_and_prepare(path.read_bytes(), info.input_size, info.resize)
        except (ImageError, OSError):
            return None
        left, top, right, bottom = content_box(
            (decoded.width, decoded.height), info.input_size, info.resize
        )
        size = info.input_size
        return pixels, (max(0, left), max(0, top), min(size, right), min(size, bottom))

    with ThreadPoolExecutor(2) as pool:
        yield from (item for item in pool.map(prepare, paths) if item is not None)


def report(drops: dict[str, dict[str, Drops]], console: Console) -> None:
    """Print per task, fill and kind of random mask how often the hottest part mattered more."""
    table = Table(
        "task", "fill", "against", "photographs", "hottest lowers more (95 %)", "mean drops",
        title=f"Hiding the hottest {HIDDEN:.0%} against a random {HIDDEN:.0%}",
    )  # fmt: skip
    reached = []
    for task, fills in drops.items():
        for fill, result in fills.items():
            for kind, random in result.random.items():
                count = len(result.hottest)
                wins = int(np.sum(np.array(result.hottest) > np.array(random)))
                interval = binomtest(wins, count).proportion_ci(method="wilson")
                reached.append(wins / count >= TARGET)
                table.add_row(
                    task,
                    fill,
                    kind,
                    str(count),
                    f"{wins / count:.1%} ({interval.low:.1%} to {interval.high:.1%})",
                    f"{np.mean(result.hottest):.3f} against {np.mean(random):.3f}",
                    style=None if reached[-1] else "bold red",
                )
    console.print(table)
    console.print(f"At least {TARGET:.0%} in {sum(reached)} of {len(reached)} comparisons.")


def main(
    bundle: Annotated[Path, typer.Option(help="Classifier bundle.")],
    data: Annotated[Path, typer.Option(help="Dataset folder.")],
    subset: Annotated[
        Subset, typer.Option(help="auto: photographs that the bundle did not learn from.")
    ] = "auto",
    graph: Annotated[
        str | None, typer.Option(help="Graph file of the bundle; by default the fair one.")
    ] = None,
    masks: Annotated[int, typer.Option(min=1, help="Random masks of each kind.")] = 10,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many.")] = None,
    seed: Annotated[int, typer.Option(help="Of the random masks.")] = 0,
) -> None:
    """Print how often hiding the map's hottest part lowers the answer's probability more."""
    console = Console()
    try:
        loaded = load_bundle(bundle, "classifier")
        dataset = load_dataset(data)
        chosen = select(dataset, loaded, subset)
        graph = graph or chosen.graph
        predictor = Predictor(loaded, threads=os.cpu_count() or 1, graph=graph)
    except PorcelainError as error:
        console.print(str(error), markup=False)
        raise typer.Exit(2) from error
    paths = [dataset.path(record) for record in chosen.records[:limit]]
    rng = np.random.default_rng(seed)
    drops = {task: {fill: Drops() for fill in FILLS} for task in predictor.tasks}
    pictures = track(prepared(predictor, paths), total=len(paths), console=Console(stderr=True))
    for pixels, box in pictures:
        measure(predictor, pixels, box, masks, rng, drops)
    console.print(f"Graph {graph}; {masks} random masks of each kind.")
    report(drops, console)


if __name__ == "__main__":
    typer.run(main)
