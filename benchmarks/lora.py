"""LoRA training: our steps against the way of diffusers' own text-to-image LoRA example.

All train the same model on the same pictures with the same random numbers, in turns in one
process, so that their losses can be compared step by step. The example encodes every picture and
prompt at every step (`benchmarks.references.text_to_image_lora`); ours has them encoded, which is
timed apart and told in steps. Ours runs twice: in the example's precision, and in what it chooses
by default. Without --base the model has Stable Diffusion 1.5's proportions, scaled down
(`benchmarks.references.scaled_diffusion`); there the example has 1.65 times our arithmetic.

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
from training.generator.lora.model import choose_precision
from training.generator.lora.preparation import LoraRun, prepare_run
from training.generator.lora.settings import LoraSettings
from training.generator.lora.trainer import Reporter

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


def example_of(run: LoraRun, data: Path, precision: str) -> ExampleTrainer:
    """The example's trainer for the same model, pictures and random numbers."""
    settings = run.trainer.settings
    return ExampleTrainer(
        run.base.folder,
        [data / record.file_name for record in run.records],
        [prompt_for(r.labels, run.taxonomy, settings.template) for r in run.records],
        map(run.trainer.randomness.sample, itertools.count()),
        {
            "rank": settings.rank,
            "learning_rate": settings.learning_rate,
            "size": settings.side(),
            "snr_gamma": settings.snr_gamma,
            "seed": settings.seed,
        },
        precision,
    )


@dataclass
class Contestant:
    """One way of training: its name, a step, its losses so far, and its times."""

    name: str
    step: Callable[[], None]
    losses: list[float]
    turns: Turns = field(default_factory=Turns)


def contestant_of(run: LoraRun) -> Contestant:
    """Ours, as a run has been set up."""
    trainer = run.trainer
    stream = trainer.batches(range(trainer.settings.total_steps()))

    def step() -> None:
        trainer.loop.take_step(lambda step: trainer.losses(next(stream)))
        trainer.loop.settle()  # the example reads its loss at every step, too

    name = f"ours, {trainer.settings.mixed_precision}"
    return Contestant(name, step, trainer.loop.history.losses)


def report(example: Contestant, ours: list[Contestant], title: str, once: float) -> None:
    """Print steps per second, their ratios, and how the losses agree."""
    console = Console(width=110)
    table = Table(title=title)
    for column in ("", "steps/s", "min", "max", "CPU s/step", "peak GPU GB"):
        table.add_column(column, justify="right" if column else "left")
    for one in (example, *ours):
        rates = 1 / np.array(one.turns.clock)
        table.add_row(
            one.name,
            *(f"{f(rates):.3f}" for f in (np.median, np.min, np.max)),
            f"{np.median(one.turns.processor):.2f}",
            f"{one.turns.memory / 1e9:.1f}" if one.turns.memory else "",
        )
    console.print(table)
    for one in ours:
        console.print(f"{one.name}, against {example.name}:")
        for what, theirs, mine in (
            ("steps/s", example.turns.clock, one.turns.clock),
            ("processor time", example.turns.processor, one.turns.processor),
        ):
            ratios = np.array(theirs) / np.array(mine)
            console.print(
                f"  {what}: {np.median(ratios):.2f} times ({ratios.min():.2f} to "
                f"{ratios.max():.2f}; wanted >= {TARGET:.0f})"
            )
        theirs, mine = np.array(example.losses), np.array(one.losses)
        console.print(
            f"  mean loss of {len(mine)} steps: {mine.mean():.5f} against {theirs.mean():.5f}; "
            f"steps differ by {np.abs(mine - theirs).mean():.1e} on average, "
            f"{np.abs(mine - theirs).max():.1e} at most"
        )
        saved = np.median(example.turns.clock) - np.median(one.turns.clock)
        console.print(f"  encoding once took {once:.1f} s, which {once / saved:.0f} steps save")


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
    snr_gamma: Annotated[float | None, typer.Option(help="Min-SNR bound, for all.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps per round.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, each of all.")] = 5,
    threads: Annotated[int | None, typer.Option(help="Of torch; by default as it chooses.")] = None,
    precision: Annotated[
        Literal["no", "fp16", "bf16"], typer.Option(help="Of the example; its default is no.")
    ] = "no",
    compile_ours: Annotated[
        bool, typer.Option("--compile", help="Compile ours, as the example cannot.")
    ] = False,
) -> None:
    """Print steps per second of each, their ratios, and how their losses agree."""
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
        _compare(folder, settings, steps, rounds)


def _compare(folder: Path, settings: LoraSettings, steps: int, rounds: int) -> None:
    data, cache = folder / "photographs", folder / "cache"
    begun: list[float] = []
    ended: list[float] = []

    def encoding(done: int, total: int) -> None:
        (ended if done == total else begun).append(time.perf_counter())

    same = prepare_run(
        data, folder / "same", settings, cache=cache, reporter=Reporter(encoding=encoding)
    )
    example = example_of(same, data, settings.mixed_precision)
    ours = [contestant_of(same)]
    default = choose_precision("auto", same.trainer.device)
    if default != settings.mixed_precision:
        changed = settings.model_copy(update={"mixed_precision": default})
        ours.append(contestant_of(prepare_run(data, folder / "default", changed, cache=cache)))
    theirs = Contestant(f"diffusers' example, {example.precision}", example.step, example.losses)
    for one in (theirs, *ours):
        one.step()
    for _ in range(rounds):
        for one in (theirs, *ours):
            one.turns.measure(one.step, steps)
    resolved = same.trainer.settings
    title = (
        f"LoRA rank {resolved.rank}, batch {resolved.batch_size} at {resolved.side()} px, "
        f"{same.trainer.device}, {torch.get_num_threads()} threads"
    )
    report(theirs, ours, title, ended[0] - begun[0])


if __name__ == "__main__":
    typer.run(main)
