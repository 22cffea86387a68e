"""What both stages learn from: the training part's pictures and labels, and a few held back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from porcelain.dataset import Dataset, Record, load_dataset, subset
from porcelain.errors import DatasetError
from porcelain.preparation import ResizeRule
from porcelain.vocabulary import Taxonomy, load_taxonomy
from training.classifier.pictures import prepare_pictures
from training.data.split import Split, split_or_make
from training.generator.pretraining.autoencoder import Pixels

MOST_HELD_OUT = 256
"""Held-out pictures to measure on; more would only take longer."""


@dataclass(frozen=True)
class Material:
    """A dataset whose split is decided; no picture has been decoded yet.

    Attributes:
        dataset: Every row.
        digest: Of the dataset.
        split: Its parts.
        taxonomy: Names and phrases.
        training: The rows of the training part alone.
        held_out: The first rows of the validation part, to measure on.
    """

    dataset: Dataset
    digest: str
    split: Split
    taxonomy: Taxonomy
    training: Dataset
    held_out: Dataset


@dataclass(frozen=True)
class Part:
    """Decoded pictures uint8 [N, H, W, 3] and their rows."""

    pixels: Pixels
    records: tuple[Record, ...]

    def __len__(self) -> int:
        return len(self.records)


def gather_material(data: Path, split: Path | None, seed: int) -> Material:
    """Read a dataset folder and decide what is learned from.

    Raises:
        DatasetError: The folder or its split is not as it should be, or nothing is to be trained
            on.
    """
    dataset = load_dataset(data)
    parts = split_or_make(dataset, split, seed=seed)
    training = subset(dataset, parts.names["train"])
    if not len(training):
        raise DatasetError(f"{data} has no training pictures; make another split.")
    held_out = subset(dataset, parts.names["validation"][:MOST_HELD_OUT])
    return Material(dataset, dataset.digest(), parts, load_taxonomy(data), training, held_out)


def decode_part(
    part: Dataset,
    name: str,
    size: int,
    rule: ResizeRule,
    work: Path,
    on_fault: Callable[[str], None],
    on_progress: Callable[[int, int], None],
) -> Part:
    """Decode the pictures of one part; those that cannot be read are said and left out.

    Args:
        part: Rows of the part.
        name: Of the file that keeps the pixels.
        size: Side in pixels.
        rule: How a photograph fills the square.
        work: Folder of that file.
        on_fault: Hears of each picture that is left out.
        on_progress: Called with pictures done and in all.
    """
    records: Sequence[Record] = part.records
    pictures = prepare_pictures(
        [part.path(record) for record in records],
        size,
        rule,
        work / f"{name}.pixels",
        on_progress,
    )
    for index, fault in pictures.unusable.items():
        on_fault(f"Left out {records[index].file_name}: {fault}")
    if not pictures.unusable:
        return Part(pictures.pixels, tuple(records))
    usable = [i for i in range(len(records)) if i not in pictures.unusable]
    return Part(np.asarray(pictures.pixels[usable]), tuple(records[i] for i in usable))
