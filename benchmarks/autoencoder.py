r"""How much of a picture does an autoencoder take away?

The pictures outside the training part pass through it and are compared with those of the training
part, beside themselves as they were:

    python -m benchmarks.autoencoder models/porcelain-small --data DIR --classifier BUNDLE

What is printed: the kernel inception distance of both in the classifier's features, or in those of
a timm backbone (`--backbone NAME --pretrained FILE`), in which of them the classifier reads the
labels, and PSNR. No generator can do better than its autoencoder.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.sample import Pixels, psnr
from porcelain.bundle import load_bundle
from porcelain.dataset import Dataset, load_dataset, subset
from porcelain.predictor import Predictor
from porcelain.preparation import load_and_prepare
from porcelain.vocabulary import TASKS
from training.data.split import SUBSETS, split_or_make
from training.generator.evaluation.comparison import PictureSet, agreement, read_picture_set
from training.generator.evaluation.features import BackboneSpace, ClassifierSpace, FeatureSpace
from training.generator.evaluation.groups import Group, rare_labels, rows_of
from training.generator.evaluation.metrics import kernel_distance
from training.generator.pretraining.autoencoder_stage import reconstruct
from training.generator.pretraining.model import to_bytes
from training.generator.pretraining.stage import open_initial_weights
from training.generator.synthesis.plan import kind_of


def main(
    autoencoders: Annotated[list[Path], typer.Argument(help="Folders of base models.")],
    data: Annotated[Path, typer.Option(help="Dataset folder.")],
    classifier: Annotated[
        Path, typer.Option(help="Classifier bundle that learned from the same training part.")
    ],
    split: Annotated[Path | None, typer.Option(help="Default: the dataset's own.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Measure in its features instead.")] = None,
    pretrained: Annotated[Path | None, typer.Option(help="The backbone's weights.")] = None,
    size: Annotated[int, typer.Option(help="Side of the pictures that pass, in pixels.")] = 128,
) -> None:
    """Print what each autoencoder leaves of the pictures."""
    dataset = load_dataset(data)
    names = split_or_make(dataset, split, seed=0).names
    train = subset(dataset, names["train"])
    others = subset(dataset, [name for part in SUBSETS[1:] for name in names[part]])
    bundle = load_bundle(classifier, "classifier")
    graph = bundle.measured_graph
    predictor = Predictor(bundle, threads=os.cpu_count() or 1, graph=graph)
    reader = ClassifierSpace(predictor, graph, None)
    space: FeatureSpace = reader
    if backbone is not None:
        if pretrained is None:
            raise typer.BadParameter("--backbone needs --pretrained.")
        space = BackboneSpace(backbone, pretrained, None)
    table = Table("", "KID, all", "KID, rare kinds", "read as labelled", "PSNR", title=space.name)
    rare_ones = Group("rare", rare=True)
    with TemporaryDirectory() as name:
        folder = Path(name)

        def features_of(part: Dataset, pixels: Pixels, stem: str) -> PictureSet:
            paths = [folder / f"{stem}-{index:06d}.png" for index in range(len(pixels))]
            for path, picture in zip(paths, pixels, strict=True):
                Image.fromarray(picture).save(path)
            kinds = [kind_of(record.labels) for record in part.records]
            return read_picture_set(paths, [p.name for p in paths], kinds, space, reader)

        known = features_of(train, _decoded(train, size), "train")
        rare = rare_labels(known.kinds)
        known_rare = known.take(rows_of(rare_ones, known.kinds, rare))
        originals = _decoded(others, size)
        for number, place in enumerate((None, *autoencoders)):
            title, passed, kept = "the pictures themselves", originals, ""
            if place is not None:
                title, model = str(place), open_initial_weights(None, place).autoencoder
                passed = to_bytes(reconstruct(model, originals))
                kept = f"{np.mean(list(map(psnr, passed, originals))):.1f} dB"
            shown = features_of(others, passed, str(number))
            shown_rare = shown.take(rows_of(rare_ones, shown.kinds, rare))
            distances = [
                kernel_distance(one.features, two.features)
                for one, two in ((known, shown), (known_rare, shown_rare))
            ]
            told = agreement(shown)
            table.add_row(
                title,
                *("" if d is None else f"{d.value:.3f} ± {d.std:.3f}" for d in distances),
                " / ".join("" if told[t] is None else f"{told[t]:.0%}" for t in TASKS),
                kept,
            )
    Console(width=140).print(table)


def _decoded(dataset: Dataset, size: int) -> Pixels:
    paths = [dataset.path(record) for record in dataset.records]
    return np.stack([load_and_prepare(path, size, "letterbox") for path in paths])


if __name__ == "__main__":
    typer.run(main)
