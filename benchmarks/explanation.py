"""Are explanations faithful? Hiding what the map shows must hurt more than hiding by chance.

For every photograph and task, the hottest 20 % of the photograph's pixels (the map's cells,
upsampled bicubically as people see them, margins left out) are hidden, and the fall of the
predicted class's probability is compared with the mean fall over random masks of equal area:

- moved: the hottest patches themselves, mirrored and shifted at random within the photograph;
- blocks: the hottest 20 % of a random 7 x 7 map, upsampled the same way;
- pixels: single pixels drawn at random, a grain that no map has.

Hidden pixels take the photograph's mean colour (`mean`), those of a heavily blurred copy (`blur`,
Gaussian, radius a tenth of the side) or mid-grey (`grey`); the random masks' hidden pixels too.
`--map detail` and `--map centre` measure maps that know nothing of the model, for comparison.

    python -m benchmarks.explanation --bundle DIR --data DIR
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import binomtest

from benchmarks.masks import (
    FILLS,
    HIDDEN,
    Box,
    FloatArray,
    Map,
    control_map,
    filling,
    hottest_mask,
    moved,
    random_pixels,
)
from porcelain.bundle import load_bundle
from porcelain.dataset import load_dataset
from porcelain.errors import ImageError, PorcelainError
from porcelain.predictor import Predictor
from porcelain.preparation import Pixels, content_box, decode_and_prepare
from training.classifier.evaluation.selection import Subset, select

TARGET = 0.8
RANDOM_MASKS = ("moved", "blocks", "pixels")
BLOCKS = (7, 7)
TOGETHER = 16


@dataclass
class Drops:
    """Falls of the predicted class's probability, one entry a photograph.

    Attributes:
        hottest: With the hottest part hidden.
        random: Mean with random parts hidden, per kind of random mask.
    """

    hottest: list[float] = field(default_factory=list)
    random: dict[str, list[float]] = field(default_factory=lambda: {k: [] for k in RANDOM_MASKS})


def measure(
    predictor: Predictor,
    pixels: Pixels,
    box: Box,
    masks: int,
    rng: np.random.Generator,
    drops: dict[str, dict[str, Drops]],
    kind: Map = "activation",
) -> None:
    """Add one photograph's drops for every task and fill.

    Args:
        predictor: Of the bundle.
        pixels: The prepared photograph.
        box: Where it lies in the square.
        masks: Random masks of each kind.
        rng: Draws them.
        drops: Per task and fill.
        kind: The map that is measured.
    """
    before = predictor.run(pixels[np.newaxis], activation=kind == "activation")
    if before.activation is not None:
        maps = list(before.activation[0])
    else:
        maps = [control_map(kind, pixels)] * len(predictor.tasks)
    size = len(pixels)
    hottest = [hottest_mask(cells, size, box) for cells in maps]
    blocks = [hottest_mask(rng.random(BLOCKS, dtype=np.float32), size, box) for _ in range(masks)]
    single = [random_pixels(size, box, rng) for _ in range(masks)]
    elsewhere = [moved(mask, box, rng) for mask in hottest for _ in range(masks)]
    hidden = np.stack([*hottest, *blocks, *single, *elsewhere])[..., np.newaxis]
    count = len(hottest)
    for fill in FILLS:
        after = answers(predictor, np.where(hidden, filling(pixels, box, fill), pixels))
        for row, task in enumerate(predictor.tasks):
            answer = int(before.probabilities[task][0].argmax())
            fall = before.probabilities[task][0, answer] - after[task][:, answer]
            start = count + (2 + row) * masks
            found = drops[task][fill]
            found.hottest.append(float(fall[row]))
            found.random["blocks"].append(float(fall[count : count + masks].mean()))
            found.random["pixels"].append(float(fall[count + masks : count + 2 * masks].mean()))
            found.random["moved"].append(float(fall[start : start + masks].mean()))


def answers(predictor: Predictor, images: Pixels) -> dict[str, FloatArray]:
    """Probabilities per task, a few pictures at a time."""
    parts = [
        predictor.run(images[start : start + TOGETHER]).probabilities
        for start in range(0, len(images), TOGETHER)
    ]
    return {task: np.concatenate([part[task] for part in parts]) for task in predictor.tasks}


def prepared(predictor: Predictor, paths: Sequence[Path]) -> Iterator[tuple[Pixels, Box]]:
    """Each readable photograph and where it lies in the square."""
    info = predictor.info

    def prepare(path: Path) -> tuple[Pixels, Box] | None:
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
    """Print how often hiding the hottest part lowered the probability more, and by how much."""
    table = Table(
        "task", "hidden by", "mean fall", *(f"against {kind}" for kind in RANDOM_MASKS),
        title=f"Photographs on which hiding the hottest {HIDDEN:.0%} lowers the probability more "
        f"than a random {HIDDEN:.0%} (95 %; mean fall of those)",
    )  # fmt: skip
    for task, fills in drops.items():
        for fill, result in fills.items():
            cells = [_compared(result.hottest, result.random[kind]) for kind in RANDOM_MASKS]
            table.add_row(task, fill, f"{np.mean(result.hottest):.2f}", *cells)
    console.print(table)
    for kind in RANDOM_MASKS:
        shares = [_wins(r.hottest, r.random[kind]) for f in drops.values() for r in f.values()]
        reached = sum(share >= TARGET for share in shares)
        console.print(
            f"Against {kind}: at least {TARGET:.0%} in {reached} of {len(shares)} comparisons, "
            f"the lowest {min(shares):.0%}."
        )


def _wins(hottest: Sequence[float], random: Sequence[float]) -> float:
    return float(np.mean(np.array(hottest) > np.array(random)))


def _compared(hottest: Sequence[float], random: Sequence[float]) -> str:
    share, count = _wins(hottest, random), len(hottest)
    interval = binomtest(round(share * count), count).proportion_ci(method="wilson")
    style = "" if share >= TARGET else "[bold red]"
    return f"{style}{share:.0%} ({interval.low:.0%} to {interval.high:.0%}; {np.mean(random):.2f})"


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
    kind: Annotated[
        Map, typer.Option("--map", help="The bundle's maps, or ones that know nothing of it.")
    ] = "activation",
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
        measure(predictor, pixels, box, masks, rng, drops, kind)
    console.print(f"{len(paths)} photographs, graph {graph}, {masks} random masks of each kind.")
    report(drops, console)


if __name__ == "__main__":
    typer.run(main)
