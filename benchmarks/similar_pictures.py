r"""Do the training pictures that are called similar share a picture's labels, and how fast?

On the pictures that the bundle's measured graph has not learned from, with an index of those that
it has:

    python -m benchmarks.similar_pictures --bundle DIR --data DIR
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.table import Table

from porcelain.bundle import SPLIT_FILE, Bundle, load_bundle, write_manifest
from porcelain.dataset import Dataset, Record, load_dataset, subset
from porcelain.files import write_bytes
from porcelain.predictor import Predictor
from porcelain.preparation import load_and_prepare
from porcelain.similar import SimilarIndex, encode_index, load_index
from training.data.split import read_split

SHOWN = 5
SIZES = (1_000, 10_000, 100_000)
RESAMPLES = 2000


def main(
    bundle: Annotated[Path, typer.Option(help="Classifier bundle.")],
    data: Annotated[Path, typer.Option(help="The dataset folder that it was trained on.")],
) -> None:
    """Print, per task, how many of the five share the label; and the time of a search."""
    loaded = load_bundle(bundle, "classifier")
    dataset = load_dataset(data)
    parts = read_split(bundle / SPLIT_FILE).names
    learned = subset(dataset, parts["train"])
    asked = subset(dataset, [*parts["validation"], *parts["test"]])
    index = _index(_features(loaded, learned), learned.records)
    found = [
        [one.picture.labels for one in index.search(row, SHOWN)] for row in _features(loaded, asked)
    ]
    console = Console(width=120)
    table = Table(
        "task", f"of {SHOWN} similar ones share the label (95 %)", "by chance", "pictures"
    )
    for task in loaded.classifier.labels:
        table.add_row(task, *_agreement(task, asked.records, found, learned.records))
    console.print(table)
    width = index.features.shape[1]
    for size in SIZES:
        console.print(f"{size:,} pictures of {width} features: {_milliseconds(size, width):.1f} ms")


def _features(bundle: Bundle, dataset: Dataset) -> npt.NDArray[np.float32]:
    predictor = Predictor(bundle, graph=bundle.measured_graph)
    rows = []
    for record in dataset.records:
        info = bundle.classifier
        pixels = load_and_prepare(dataset.path(record), info.input_size, info.resize)
        features = predictor.run(pixels[np.newaxis], features=True).features
        assert features is not None
        rows.append(features[0])
    return np.stack(rows)


def _index(features: npt.NDArray[np.floating], records: tuple[Record, ...]) -> SimilarIndex:
    """Written and read as a bundle's."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in encode_index(features, records, {}).items():
            write_bytes(folder / file, content)
        write_manifest(folder, kind="classifier", name="index", dataset_digest="")
        return load_index(load_bundle(folder, "classifier"))


def _agreement(
    task: str,
    asked: tuple[Record, ...],
    found: list[list[dict[str, str]]],
    learned: tuple[Record, ...],
) -> tuple[str, str, str]:
    """Means over the pictures whose label is known; similar ones without one do not count."""
    shares, chances = [], []
    known = [record.labels[task] for record in learned if record.labels[task] is not None]
    for record, similar in zip(asked, found, strict=True):
        label = record.labels[task]
        told = [labels[task] for labels in similar if task in labels]
        if label is None or not told:
            continue
        shares.append(told.count(label) / len(told))
        chances.append(known.count(label) / len(known))
    values = np.array(shares)
    draws = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return (
        f"{values.mean():.1%} ({low:.1%} to {high:.1%})",
        f"{np.mean(chances):.1%}",
        str(len(values)),
    )


def _milliseconds(size: int, width: int) -> float:
    random = np.random.default_rng(0)
    labels = dict.fromkeys(("dynasty", "glaze", "kiln", "type"))
    records = tuple(Record(f"{i}.jpg", {**labels, "type": "bowl"}) for i in range(size))
    features = random.normal(0, 1, (size, width)).astype(np.float32)
    index = _index(features, records)
    taken = []
    for row in features[:9]:
        begun = time.perf_counter()
        index.search(row, SHOWN)
        taken.append(time.perf_counter() - begun)
    return 1000 * median(taken)


if __name__ == "__main__":
    typer.run(main)
