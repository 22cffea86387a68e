"""Which score tells porcelain from other things? Methods side by side on one bundle's features.

Test photographs of the bundle against metal pots, glass, fruit, faces, walls and drawings made by
`benchmarks.other_things`, and against the pictures in any folders given with `--others`.

    python -m benchmarks.in_domain --bundle DIR --data DIR [--others DIR]...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.table import Table
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from benchmarks import other_things
from porcelain.bundle import Bundle, load_bundle
from porcelain.dataset import load_dataset
from porcelain.domain import choose_threshold, normalised, similarity
from porcelain.predictor import Outputs, Predictor
from porcelain.preparation import prepare
from training.classifier.evaluation.inference import answer
from training.classifier.evaluation.selection import select

FloatArray = npt.NDArray[np.floating]
Score = Callable[[Outputs], FloatArray]
TARGET = 0.95


def features_of(outputs: Outputs) -> FloatArray:
    """Features [N, F], asked for by whoever ran the pictures."""
    if outputs.features is None:
        raise ValueError("run the pictures with features=True")
    return outputs.features


def scores(train: FloatArray) -> dict[str, Score]:
    """Every method, fitted to the training pictures; higher is more like them."""
    unit = normalised(train)
    covariance = LedoitWolf().fit(unit)
    parts = PCA(min(64, len(unit) - 1), random_state=0).fit(unit)

    def mahalanobis(outputs: Outputs) -> FloatArray:
        return -covariance.mahalanobis(normalised(features_of(outputs)))

    def residual(outputs: Outputs) -> FloatArray:
        rows = normalised(features_of(outputs))
        return -np.linalg.norm(rows - parts.inverse_transform(parts.transform(rows)), axis=1)

    def confidence(outputs: Outputs) -> FloatArray:
        return np.mean([p.max(axis=1) for p in outputs.probabilities.values()], axis=0)

    def entropy(outputs: Outputs) -> FloatArray:
        rows = outputs.probabilities.values()
        return np.sum([(p * np.log(p + 1e-12)).sum(axis=1) for p in rows], axis=0)

    return {
        "nearest neighbours (cosine, in the bundle)": lambda o: similarity(features_of(o), unit),
        "Mahalanobis (Ledoit-Wolf)": mahalanobis,
        "PCA residual": residual,
        "feature length": lambda o: np.linalg.norm(features_of(o), axis=1),
        "highest probability": confidence,
        "negative entropy": entropy,
    }


def others(
    predictor: Predictor, folders: Sequence[Path], count: int, seed: int
) -> dict[str, Outputs]:
    """The model's outputs for every kind of other thing."""
    size, rule = predictor.info.input_size, predictor.info.resize
    kinds = {
        kind: list(other_things.made(kind, count, seed))
        for kind in (*other_things.THINGS, *other_things.FLAT)
    }
    if folders:
        kinds["found in packages"] = list(other_things.found(list(folders)))
    return {
        kind: predictor.run(np.stack([prepare(p, size, rule) for p in made]), features=True)
        for kind, made in kinds.items()
        if made
    }


def photographs(bundle: Bundle, data: Path, predictor: Predictor) -> dict[str, Outputs]:
    """The model's outputs for the parts of its own data."""
    dataset = load_dataset(data)
    found = {}
    for part in ("train", "validation", "test"):
        records = select(dataset, bundle, part).records
        answers = answer(predictor, [dataset.path(r) for r in records], features=True)
        found[part] = Outputs(answers.probabilities, answers.features)
    return found


def main(
    bundle: Annotated[Path, typer.Option(help="Classifier bundle.")],
    data: Annotated[Path, typer.Option(help="The dataset folder it was trained on.")],
    others_in: Annotated[
        list[Path] | None, typer.Option("--others", help="Folder of pictures of other things.")
    ] = None,
    count: Annotated[int, typer.Option(min=2, help="Made pictures of each kind.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the made pictures.")] = 0,
) -> None:
    """Print AUROC per method and kind of thing, and what the bundle's threshold lets through."""
    loaded = load_bundle(bundle, "classifier")
    predictor = Predictor(loaded, graph=loaded.measured_graph)
    own = photographs(loaded, data, predictor)
    foreign = others(predictor, others_in or (), count, seed)
    methods = scores(features_of(own["train"]))
    table = Table("method", *(f"{k} ({_count(o)})" for k, o in foreign.items()), "all")
    for name, score in methods.items():
        inside = score(own["test"])
        outside = {kind: score(outputs) for kind, outputs in foreign.items()}
        cells = [_auroc(inside, values) for values in (*outside.values(), _joined(outside))]
        table.add_row(name, *(f"{'' if c >= TARGET else '[red]'}{c:.3f}" for c in cells))
    console = Console(width=200)
    console.print(f"AUROC against {_count(own['test'])} test photographs")
    console.print(table)
    score = next(iter(methods.values()))
    threshold = choose_threshold(score(own["validation"]))
    refused = np.mean(_joined({k: score(o) for k, o in foreign.items()}) < threshold)
    kept = np.mean(score(own["test"]) >= threshold)
    console.print(
        f"Validation's threshold {threshold:.3f}: {kept:.1%} of test kept, {refused:.1%} of "
        "other things recognised."
    )


def _count(outputs: Outputs) -> int:
    return len(features_of(outputs))


def _joined(values: dict[str, FloatArray]) -> FloatArray:
    return np.concatenate(list(values.values()))


def _auroc(inside: FloatArray, outside: FloatArray) -> float:
    truth = np.r_[np.ones(len(inside)), np.zeros(len(outside))]
    return float(roc_auc_score(truth, np.r_[inside, outside]))


if __name__ == "__main__":
    typer.run(main)
