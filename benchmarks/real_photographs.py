r"""F1-macro on real photographs: five-fold cross-validation, a seed per fold.

Every photograph is tested once, by a model that did not see it. As in `porcelain classifier train`
the recipe then learns once more, here from training and validation part, and is tested again: so
the model that a user serves learns. Printed, for either, are the mean over the seeds with its 95 %
t-interval, and F1-macro of all predictions pooled with its bootstrap interval: rare classes have
one or two pictures in a fold, so that pooled figures are the steadier ones. The log loss is that of
the best temperature.

    python -m benchmarks.real_photographs --data PHOTOS --out runs/real \
        --backbone tf_mobilenetv3_small_075 --pretrained weights.safetensors

With `--plain` the same is done with a plain fine-tuning, as anybody would write it first. With
`--served-only` the first model is left out: the second trains for all epochs, which validation
chose on all five folds measured so far, and has no temperature.

Interrupted, the same command goes on from the last epoch of the last fold.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from scipy import stats
from sklearn.metrics import log_loss

from benchmarks.calibration import WHOLE
from porcelain.dataset import load_dataset
from porcelain.files import write_json
from training.classifier.bundling import Fitted
from training.classifier.calibration import apply_temperature, fit_temperature
from training.classifier.evaluation.metrics import evaluate_predictions
from training.classifier.pipeline import Reporter, fit, refit
from training.classifier.settings import TrainSettings
from training.classifier.trained import Trained
from training.data.split import Split, make_folds, write_split

PLAIN: Final[dict[str, Any]] = {
    "epochs": 12,
    "frozen_epochs": 0,
    "backbone_rate": 1.0,
    "prior_correction": 0.0,
    "label_smoothing": 0.0,
    "dropout": 0.0,
    "averaging": 0.0,
    "members": 1,
}
"""Cross-entropy, AdamW at one rate with a cosine fall, the same augmentation, and nothing else."""


def main(
    data: Annotated[Path, typer.Option(help="Dataset folder.")],
    out: Annotated[Path, typer.Option(help="Folder for splits, checkpoints and predictions.")],
    backbone: Annotated[str, typer.Option(help="timm model.")] = "mobilenetv3_large_100",
    pretrained: Annotated[str, typer.Option(help="auto, none or a file.")] = "auto",
    epochs: Annotated[int | None, typer.Option(help="Default: the trainer's.")] = None,
    seeds: Annotated[int, typer.Option(min=2, help="Folds, each with a seed of its own.")] = 5,
    loss: Annotated[str | None, typer.Option(help="Rule for imbalance; see the trainer.")] = None,
    prior_correction: Annotated[
        float | None, typer.Option(help="Share of log class frequency taken off; see the trainer.")
    ] = None,
    members: Annotated[
        int | None, typer.Option(help="Models that answer together; see the trainer.")
    ] = None,
    rendered: Annotated[
        str, typer.Option(help="Rendered vessels beside photographs; see the trainer.")
    ] = "none",
    photograph_members: Annotated[
        int | None, typer.Option(help="Models that learn from photographs alone; see the trainer.")
    ] = None,
    rendered_blank: Annotated[
        str | None,
        typer.Option(help="Tasks that rendered vessels leave blank, with commas; see the trainer."),
    ] = None,
    input_size: Annotated[
        int | None, typer.Option(help="Side of the model's input; pictures are kept 8/7 as large.")
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="A plain fine-tuning in place of the default recipe.")
    ] = False,
    served_only: Annotated[
        bool, typer.Option("--served-only", help="Leave the model out that validation chooses.")
    ] = False,
    only: Annotated[
        list[int] | None,
        typer.Option(help="Train just these seeds, so that processes can share the work."),
    ] = None,
    least: Annotated[
        int, typer.Option(help="Also print F1 over classes with at least so many pictures.")
    ] = 10,
) -> None:
    """Cross-validate a recipe and print F1-macro per task."""
    out.mkdir(parents=True, exist_ok=True)
    dataset = load_dataset(data)
    given: dict[str, Any] = {"backbone": backbone, "pretrained": pretrained, "rendered": rendered}
    if rendered_blank is not None:
        given["rendered_blank"] = tuple(filter(None, rendered_blank.split(",")))
    options = {
        "epochs": epochs,
        "loss": loss,
        "prior_correction": prior_correction,
        "members": members,
        "photograph_members": photograph_members,
    }
    if input_size:
        given |= {"input_size": input_size, "cached_size": round(input_size * 8 / 7)}
    if plain:
        given |= PLAIN
    given |= {name: value for name, value in options.items() if value is not None}
    for seed, split in enumerate(make_folds(dataset, seeds, seed=0)):
        results = out / f"seed-{seed}.json", out / f"refit-{seed}.json"
        wanted = results[1:] if served_only else results
        if all(result.is_file() for result in wanted) or (only and seed not in only):
            continue
        file = out / f"split-{seed}.json"
        write_split(file, _without_validation(split) if served_only else split)
        told = Reporter(
            message=lambda text, seed=seed: print(seed, text),
            epoch=lambda r, seed=seed: print(seed, r.epoch, r.f1_macro, flush=True),
        )
        settings = TrainSettings(**given, seed=seed)
        fitted = fit(data, out / f"work-{seed}", settings, split=file, reporter=told)
        served = fitted.trained
        if not served_only:
            write_json(results[0], _predictions(fitted, fitted.trained))
            write_logits(out / "logits" / f"fold{seed}-{WHOLE}.npz", fitted)
            served = refit(fitted, out / f"work-{seed}/refit", told, ("train", "validation"))
        write_json(results[1], _predictions(fitted, served))
    if only:
        return
    for stem, title in (
        ("seed", "the model that validation chose"),
        ("refit", "trained once more, on validation pictures too"),
    )[served_only:]:
        folds = [json.loads((out / f"{stem}-{seed}.json").read_text()) for seed in range(seeds)]
        _print(folds, dataset.classes, least, title)


def _without_validation(split: Split) -> Split:
    names = dict(split.names)
    names["train"] += names["validation"]
    return replace(split, names=names | {"validation": ()})


def write_logits(file: Path, fitted: Fitted) -> None:
    """What `benchmarks.calibration` reads: logits without the prior correction, and the priors."""
    trained, content = fitted.trained, {}
    logits = {p: trained.predict(fitted.pictures[p].pictures) for p in ("validation", "test")}
    for part in logits:
        content[f"{part}-labels"] = fitted.pictures[part].labels.numpy()
        names = [record.file_name for record in fitted.pictures[part].records]
        content[f"{part}-names"] = np.array(names)
    for task, classes in fitted.classes.items():
        members = [one.log_priors[task].cpu().numpy() for one in trained.trainers]
        priors = np.mean(members, axis=0)
        counts = Counter(record.labels[task] for record in fitted.pictures["train"].records)
        content[f"classes-{task}"] = np.array(classes)
        content[f"counts-{task}"] = np.array([counts[label] for label in classes])
        content[f"priors-{task}"] = priors
        for part, values in logits.items():
            content[f"{part}-{task}"] = values[task] + trained.settings.prior_correction * priors
    file.parent.mkdir(exist_ok=True)
    np.savez_compressed(file, **content)


def _predictions(fitted: Fitted, trained: Trained) -> dict[str, Any]:
    """Labels and calibrated probabilities of the fold's test pictures, as the model says.

    Temperatures are those of the model that has not learned from the validation part.
    """
    test, validation = fitted.pictures["test"], fitted.pictures["validation"]
    logits = trained.predict(test.pictures)
    held = fitted.trained.predict(validation.pictures)
    content: dict[str, Any] = {
        "names": [record.file_name for record in test.records],
        "objects": [record.object_id or record.file_name for record in test.records],
        "best_epochs": [one.progress.best_epoch for one in trained.trainers],
    }
    for column, task in enumerate(fitted.classes):
        temperature = fit_temperature(held[task], validation.labels[:, column].numpy())
        content[task] = {
            "classes": fitted.classes[task],
            # The label itself: a class without training pictures has no index.
            "labels": [record.labels[task] for record in test.records],
            "probabilities": apply_temperature(logits[task], temperature).tolist(),
        }
    return content


def _print(folds: list[dict[str, Any]], classes_of: Any, least: int, title: str) -> None:  # noqa: ANN401
    table = Table(
        "task",
        "mean over seeds",
        "pooled F1-macro",
        f"pooled, classes of {least} or more",
        "pooled accuracy",
        "pooled ECE",
        "pooled log loss",
        title=f"F1-macro with 95 % intervals, {title}",
    )
    tasks = [task for task in ("dynasty", "glaze", "kiln", "type") if task in folds[0]]
    for task in tasks:
        classes = classes_of(task)
        scores = [_evaluate([fold], task, classes).f1_macro for fold in folds]
        half = stats.t.ppf(0.975, len(scores) - 1) * np.std(scores, ddof=1) / len(scores) ** 0.5
        pooled = _evaluate(folds, task, classes)
        common = [c.f1 for c in pooled.classes.values() if c.support >= least]
        table.add_row(
            task,
            f"{np.mean(scores):.3f} ± {half:.3f}",
            _interval(pooled.f1_macro, pooled.f1_macro_interval),
            f"{np.mean(common):.3f} ({len(common)} of {len(classes)})",
            _interval(pooled.accuracy, pooled.accuracy_interval),
            f"{pooled.ece:.3f}",
            f"{_log_loss(folds, task):.3f}",
        )
    Console(width=140).print(table)


def _log_loss(folds: list[dict[str, Any]], task: str) -> float:
    """Mean over the pictures whose label was taught, by each fold's best temperature.

    What is left is what no calibration can mend; it moves less by chance than F1-macro.
    """
    total, count = 0.0, 0
    for fold in folds:
        classes = fold[task]["classes"]
        taught = [row for row, label in enumerate(fold[task]["labels"]) if label in classes]
        labels = np.array([classes.index(fold[task]["labels"][row]) for row in taught])
        logits = np.log(np.maximum(np.array(fold[task]["probabilities"])[taught], 1e-12))
        best = apply_temperature(logits, fit_temperature(logits, labels))
        total += log_loss(labels, best, labels=range(len(classes)), normalize=False)
        count += len(taught)
    return total / count


def _interval(value: float, bounds: tuple[float, float]) -> str:
    return f"{value:.3f} ({bounds[0]:.3f} to {bounds[1]:.3f})"


def _evaluate(folds: list[dict[str, Any]], task: str, classes: list[str]) -> Any:  # noqa: ANN401
    index = {label: i for i, label in enumerate(classes)}
    labels, rows, objects = [], [], []
    for fold in folds:
        labels += [index.get(label, -1) for label in fold[task]["labels"]]
        wide = np.zeros((len(fold["names"]), len(classes)))
        wide[:, [index[label] for label in fold[task]["classes"]]] = fold[task]["probabilities"]
        rows.append(wide)
        objects += fold["objects"]
    return evaluate_predictions(
        {task: np.array(labels)}, {task: np.concatenate(rows)}, {task: classes}, objects
    )[task]


if __name__ == "__main__":
    typer.run(main)
