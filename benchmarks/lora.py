"""LoRA training: our steps against the way of diffusers' own text-to-image LoRA example.

Both train the same model on the same pictures with the same random numbers, in turns in one
process, so that their losses can be compared step by step. The example encodes every picture and
prompt at every step (`benchmarks.references.text_to_image_lora`); ours has them encoded, which is
timed apart and told in steps. Without --base the model has Stable Diffusion 1.5's proportions,
scaled down (`benchmarks.references.scaled_diffusion`).

    python -m benchmarks.lora [--base FOLDER] [--pictures FOLDER] [--rounds N]
"""

from __future__ import annotations

import io
import itertools
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import typer
from PIL import Image, ImageOps
from rich.console import Console
from rich.table import Table

from benchmarks.corpus import ORIGINALS, make_corpus
from benchmarks.references.scaled_diffusion import write_scaled_diffusion
from benchmarks.references.text_to_image_lora import ExampleTrainer
from porcelain.dataset import Record, load_dataset, write_metadata
from porcelain.prompts import prompt_for
from training.data.split import Split, write_split
from training.generator.lora.run import Run, set_up
from training.generator.lora.settings import LoraSettings

TARGET = 2.0


@dataclass
class Turns:
    """Seconds per step of each round: on the clock, and of processor time."""

    clock: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    memory: int = 0

    def measure(self, work: Callable[[], None], steps: int) -> None:
        """Time one round of so many steps."""
        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        clock, processor = time.perf_counter(), time.process_time()
        for _ in range(steps):
            work()
        if cuda:
            torch.cuda.synchronize()
            self.memory = torch.cuda.max_memory_allocated()
        self.clock.append((time.perf_counter() - clock) / steps)
        self.processor.append((time.process_time() - processor) / steps)


def write_photographs(folder: Path, source: Path | None, count: int, side: int) -> None:
    """A dataset folder of square JPEGs, all for training."""
    folder.mkdir()
    records = []
    for number, content in enumerate(make_corpus(source, count, ORIGINALS).pictures):
        image = ImageOps.fit(Image.open(io.BytesIO(content)).convert("RGB"), (side, side))
        name = f"{number:04}.jpg"
        image.save(folder / name, quality=92)
        glaze = ("celadon", "white", "blue_and_white")[number % 3]
        labels = {
            "dynasty": None,
            "glaze": glaze,
            "kiln": None,
            "type": ("bowl", "vase")[number % 2],
        }
        records.append(Record(name, labels))
    write_metadata(folder, records)
    names = {"train": tuple(r.file_name for r in records), "validation": (), "test": ()}
    digest = load_dataset(folder).digest()
    write_split(folder / "split.json", Split(names, 0, (1.0, 0.0, 0.0), digest))


def example_of(run: Run, data: Path, captions: list[str]) -> ExampleTrainer:
    """The example's trainer for the same model, pictures and random numbers."""
    settings = run.trainer.settings
    return ExampleTrainer(
        run.base.folder,
        [data / record.file_name for record in run.records],
        captions,
        map(run.trainer.draws.of, itertools.count()),
        {
            "rank": settings.rank,
            "learning_rate": settings.learning_rate,
            "size": settings.side(),
            "snr_gamma": settings.snr_gamma,
            "seed": settings.seed,
        },
        run.trainer.accelerator,
    )


def report(ours: Turns, example: Turns, run: Run, losses: list[float], encoding: float) -> None:
    """Print steps per second, their ratio, and how the losses agree."""
    console = Console(width=110)
    settings = run.trainer.settings
    table = Table(
        title=f"LoRA rank {settings.rank}, batch {settings.batch_size} at {settings.side()} px, "
        f"{run.trainer.device}, precision {run.trainer.accelerator.mixed_precision}, "
        f"{torch.get_num_threads()} threads"
    )
    for column in ("", "steps/s", "min", "max", "CPU s/step", "peak GPU GB"):
        table.add_column(column, justify="right" if column else "left")
    for name, turns in (("diffusers' example", example), ("ours", ours)):
        rates = 1 / np.array(turns.clock)
        table.add_row(
            name,
            *(f"{f(rates):.3f}" for f in (np.median, np.min, np.max)),
            f"{np.median(turns.processor):.2f}",
            f"{turns.memory / 1e9:.1f}" if turns.memory else "",
        )
    console.print(table)
    for name, one, other in (
        ("steps/s, ours / example", example.clock, ours.clock),
        ("processor time, example / ours", example.processor, ours.processor),
    ):
        ratios = np.array(one) / np.array(other)
        console.print(
            f"{name}: {np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f}; "
            f"wanted >= {TARGET:.0f})"
        )
    mine = np.array(run.trainer.settle().losses[: len(losses)])
    theirs = np.array(losses)
    console.print(
        f"loss over {len(theirs)} steps: ours {mine.mean():.5f}, example {theirs.mean():.5f}; "
        f"mean difference {np.abs(mine - theirs).mean():.1e}, greatest "
        f"{np.abs(mine - theirs).max():.1e}"
    )
    console.print(
        f"encoding {len(run.records)} pictures once, with their mirror images: {encoding:.1f} s, "
        f"as long as {encoding / (np.median(example.clock) - np.median(ours.clock)):.0f} steps save"
    )


def main(
    base: Annotated[
        str | None, typer.Option(help="Pipeline folder or hub id; 1.5's proportions without one.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder of JPEGs; textures without one.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Pictures.")] = 24,
    picture_side: Annotated[
        int | None, typer.Option(help="Side of the JPEGs; by default as large as training needs.")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Side in training; the base's own.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures per step.")] = 8,
    rank: Annotated[int, typer.Option(min=1, help="Of the adapters.")] = 4,
    snr_gamma: Annotated[float | None, typer.Option(help="Min-SNR bound, for both.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps per round.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, each of both.")] = 5,
    threads: Annotated[int | None, typer.Option(help="Of torch; by default as it chooses.")] = None,
    precision: Annotated[
        Literal["no", "fp16", "bf16"], typer.Option(help="Mixed precision, for both.")
    ] = "no",
    compile_ours: Annotated[
        bool, typer.Option("--compile", help="Compile ours, as the example cannot.")
    ] = False,
) -> None:
    """Print steps per second of both, their ratio, and how their losses agree."""
    if threads is not None:
        torch.set_num_threads(threads)
    settings = LoraSettings(
        base=base or "",
        steps=steps * rounds + 2,
        rank=rank,
        batch_size=batch_size,
        learning_rate=1e-4,
        schedule="constant",
        warmup=0.0,
        snr_gamma=snr_gamma,
        prompt_dropout=0.0,
        rarity_power=0.0,
        size=size,
        mixed_precision=precision,
        compile=compile_ours,
    )
    with tempfile.TemporaryDirectory(prefix="porcelain-bench-") as name:
        folder = Path(name)
        if base is None:
            model = write_scaled_diffusion(folder / "base")
            settings = settings.model_copy(update={"base": str(model)})
        side = picture_side or size or 256
        write_photographs(folder / "photographs", pictures, count, side)
        _compare(folder / "photographs", folder / "work", settings, steps, rounds)


def _compare(data: Path, work: Path, settings: LoraSettings, steps: int, rounds: int) -> None:
    begun = time.perf_counter()
    run = set_up(data, work, settings)
    encoding = time.perf_counter() - begun
    captions = [prompt_for(r.labels, run.taxonomy, settings.template) for r in run.records]
    example = example_of(run, data, captions)
    trainer = run.trainer
    stream = trainer.stream(0, settings.total_steps())

    def step() -> None:
        trainer.learn(next(stream))
        trainer.settle()  # the example reads its loss at every step, too

    mine, theirs = Turns(), Turns()
    step()
    example.step()
    for _ in range(rounds):
        theirs.measure(example.step, steps)
        mine.measure(step, steps)
    report(mine, theirs, run, example.losses, encoding)


if __name__ == "__main__":
    typer.run(main)
