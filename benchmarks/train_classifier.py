"""Training throughput: the whole training loop against forward and backward alone.

The reference runs the same model and loss, forward and backward, on batches that are ready in
memory: no decoding, augmentation, optimiser, clipping or weight average. Both run in turns.

    python -m benchmarks.train_classifier [--data DIR] [--backbone NAME] [--rounds N]
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from accelerate import Accelerator
from rich.console import Console
from rich.table import Table

from training.classifier.losses import MultiTaskLoss
from training.classifier.model import MultiTaskClassifier
from training.classifier.pictures import Pictures, prepare_pictures
from training.classifier.records import LabelledPictures
from training.classifier.settings import TrainSettings
from training.classifier.trainer import ClassifierTrainer

CLASSES = {"dynasty": 6, "glaze": 14, "kiln": 16, "type": 13}


def main(
    data: Annotated[
        Path | None, typer.Option(help="Folder of JPEGs; random pixels without one.")
    ] = None,
    backbone: Annotated[str, typer.Option(help="timm model.")] = "mobilenetv3_large_100",
    batches: Annotated[int, typer.Option(min=2, help="Batches per round.")] = 6,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, each of both.")] = 5,
) -> None:
    """Print pictures per second of both and their ratio."""
    settings = TrainSettings(backbone=backbone, pretrained="none", epochs=1000, frozen_epochs=0)
    count = batches * settings.batch_size
    with tempfile.TemporaryDirectory() as folder:
        train = _pictures(data, count, settings, Path(folder))
        model = MultiTaskClassifier(backbone, CLASSES, dropout=settings.dropout)
        empty = LabelledPictures(
            Pictures(np.zeros((0, settings.input_size, settings.input_size, 3), np.uint8), {}),
            torch.zeros((0, len(CLASSES)), dtype=torch.int64),
        )
        trainer = ClassifierTrainer(model, settings, train, empty, Path(folder), Accelerator())
        ready = _ready_batches(trainer, settings, batches)
        _reference(trainer, ready[:1])
        trainer._learn(0)
        ours, reference = [], []
        for turn in range(rounds):
            reference.append(count / _seconds(lambda: _reference(trainer, ready)))
            ours.append(count / _seconds(lambda turn=turn: trainer._learn(turn + 1)))
    ratios = np.array(ours) / np.array(reference)
    table = Table("", "pictures/s, median", "min", "max", title=f"{backbone}, {trainer.device}")
    for name, values in (("forward and backward alone", reference), ("training", ours)):
        table.add_row(name, *(f"{f(values):.1f}" for f in (np.median, np.min, np.max)))
    table.add_row("ratio", *(f"{f(ratios):.3f}" for f in (np.median, np.min, np.max)))
    Console().print(table)


def _pictures(
    data: Path | None, count: int, settings: TrainSettings, work: Path
) -> LabelledPictures:
    rng = np.random.default_rng(0)
    labels = torch.tensor(
        np.stack([rng.integers(0, n, count) for n in CLASSES.values()], axis=1), dtype=torch.int64
    )
    size = settings.cached_size
    if data is None:
        pixels = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
        return LabelledPictures(Pictures(pixels, {}), labels)
    found = sorted(data.rglob("*.jpg"))
    if not found:
        raise typer.BadParameter(f"{data} has no .jpg files.")
    paths = [found[i % len(found)] for i in range(count)]
    return LabelledPictures(
        prepare_pictures(paths, size, settings.cached_rule(), work / "train.pixels"), labels
    )


def _ready_batches(
    trainer: ClassifierTrainer, settings: TrainSettings, count: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    size, batch = settings.input_size, settings.batch_size
    labels = trainer.train_data.labels.to(trainer.device)
    return [
        (
            torch.randn(batch, 3, size, size, device=trainer.device).contiguous(
                memory_format=torch.channels_last
            ),
            labels[i * batch : (i + 1) * batch],
        )
        for i in range(count)
    ]


def _reference(trainer: ClassifierTrainer, ready: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    loss_function: MultiTaskLoss = trainer.loss
    trainer.model.train()
    for images, labels in ready:
        with trainer.accelerator.autocast():
            logits = trainer.model(images)
        loss_function({t: v.float() for t, v in logits.items()}, labels).backward()
        trainer.model.zero_grad(set_to_none=True)


def _seconds(work: Callable[[], object]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    typer.run(main)
