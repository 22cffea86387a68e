r"""What facts do for the other answers, and what unusual combinations say, on five folds.

Strengths and calibration are chosen on each fold's validation photographs, as training does; every
photograph is then tested once, with its own labels as facts.

    python -m benchmarks.known_facts --data PHOTOS --weights tf_mobilenetv3_small_075.safetensors
    python -m benchmarks.known_facts --data PHOTOS --logits LOGITS --kind P
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from sklearn.metrics import f1_score

from benchmarks.fold_answers import FloatArray, Fold, linear_folds, read_folds
from porcelain.label_prior import CONFLICT_PROBABILITY, LabelPrior
from training.classifier.evaluation.reliability import calibration_error, reliability_bins
from training.classifier.known_facts import fit_known_facts

RESAMPLES = 2000
SELECTIVE_ACCURACY = 0.95
WRONG_FACTS = 3  # per photograph and task, drawn as often as they occur


def main(
    data: Annotated[Path, typer.Option(help="Dataset folder.")],
    logits: Annotated[Path | None, typer.Option(help="Folder of members' logits.")] = None,
    kind: Annotated[str, typer.Option(help="Which members.")] = "P",
    weights: Annotated[Path | None, typer.Option(help="Backbone for linear heads.")] = None,
    backbone: Annotated[str, typer.Option(help="timm's name.")] = "tf_mobilenetv3_small_075",
) -> None:
    """Print log loss and F1-macro with and without facts, and how often the flags are right."""
    if logits is not None:
        folds = read_folds(data, logits, kind)
    elif weights is not None:
        folds = linear_folds(data, backbone, weights)
    else:
        raise typer.BadParameter("give --logits or --weights")
    priors = [prior_of(fold) for fold in folds]
    console = Console(width=150)
    console.print(facts_table(folds, priors))
    for line in (*strengths(priors), unusual(folds, priors), *conflicts(folds)):
        console.print(line, markup=False)
    console.print(speed(folds[0], priors[0]))


def prior_of(fold: Fold) -> LabelPrior:
    """What the bundle of this fold would use facts with."""
    part = fold.validation
    facts = fit_known_facts(
        fold.classes, fold.train, None, part.probabilities, part.labels, SELECTIVE_ACCURACY
    )
    if facts is None:
        raise typer.BadParameter("no photograph has a label")
    return LabelPrior(fold.classes, facts)


def facts_table(folds: Sequence[Fold], priors: Sequence[LabelPrior]) -> Table:
    """Per task and set of known tasks: log loss, F1-macro and calibration error."""
    tasks = list(folds[0].classes)
    pictures = sum(len(fold.test.records) for fold in folds)
    table = Table(
        "task", "known", "pictures", "log loss", "with facts", "change, 95 % interval",
        "F1-macro", "with facts", "calibration error", "with facts",
        title=f"{pictures} photographs of {len(folds)} folds",
    )  # fmt: skip
    for task in tasks:
        others = [one for one in tasks if one != task]
        for size in range(1, len(tasks)):
            for known in combinations(others, size):
                table.add_row(task, " + ".join(known), *_row(folds, priors, task, known))
    return table


def _row(
    folds: Sequence[Fold], priors: Sequence[LabelPrior], task: str, known: Sequence[str]
) -> Iterator[str]:
    labels: list[str] = []
    found: dict[str, list[str]] = {"alone": [], "given": []}
    losses: dict[str, list[float]] = {"alone": [], "given": []}
    sure: dict[str, list[float]] = {"alone": [], "given": []}
    for fold, prior in zip(folds, priors, strict=True):
        test, names = fold.test, fold.classes
        there = np.all([test.labels[one] >= 0 for one in (task, *known)], axis=0)
        rows = np.flatnonzero(there)
        facts = [{one: names[one][test.labels[one][row]] for one in known} for row in rows]
        alone = test.probabilities[task][rows]
        given = prior.condition({task: alone}, facts)[task]
        right = test.labels[task][rows]
        labels += [names[task][i] for i in right]
        for key, answer in (("alone", alone), ("given", given)):
            losses[key] += (-np.log(answer[np.arange(len(rows)), right])).tolist()
            found[key] += [names[task][i] for i in answer.argmax(axis=1)]
            sure[key] += answer.max(axis=1).tolist()
    before, after = (np.array(losses[key]) for key in ("alone", "given"))
    low, high = np.percentile(_ratios(before, after), [2.5, 97.5])
    yield str(len(labels))
    yield f"{before.mean():.3f}"
    yield f"{after.mean():.3f}"
    yield f"{after.mean() / before.mean() - 1:+.1%} ({low:+.1%} to {high:+.1%})"
    for key in ("alone", "given"):
        yield f"{f1_score(labels, found[key], average='macro'):.3f}"
    for key in ("alone", "given"):
        right = np.array(labels) == np.array(found[key])
        yield f"{calibration_error(reliability_bins(np.array(sure[key]), right)):.3f}"


def _ratios(before: FloatArray, after: FloatArray) -> FloatArray:
    drawn = np.random.default_rng(0).integers(len(before), size=(RESAMPLES, len(before)))
    ratios: FloatArray = after[drawn].mean(axis=1) / before[drawn].mean(axis=1) - 1
    return ratios


def strengths(priors: Sequence[LabelPrior]) -> Iterator[str]:
    """The strengths that validation chose, by fold."""
    for task, row in priors[0].facts.strengths.items():
        chosen = (
            f"{other} {[prior.facts.strengths[task][other] for prior in priors]}" for other in row
        )
        yield f"strength for {task} of {', '.join(chosen)}"


def unusual(folds: Sequence[Fold], priors: Sequence[LabelPrior]) -> str:
    """How often answers that were never seen together hold an error, without facts."""
    flagged, wrong = [], []
    for fold, prior in zip(folds, priors, strict=True):
        answers = {task: rows.argmax(axis=1) for task, rows in fold.test.probabilities.items()}
        for row in range(len(fold.test.records)):
            labels = {task: fold.classes[task][found[row]] for task, found in answers.items()}
            flagged.append(prior.unusual(labels) is not None)
            wrong.append(
                any(0 <= fold.test.labels[task][row] != answers[task][row] for task in answers)
            )
    both = int(np.logical_and(flagged, wrong).sum())
    return (
        f"unusual combinations: {sum(flagged)} of {len(flagged)} pictures, {both} of them with an "
        f"error ({both / max(1, sum(flagged)):.0%}); {sum(wrong)} pictures have one "
        f"({both / max(1, sum(wrong)):.0%} of them flagged)"
    )


def conflicts(folds: Sequence[Fold]) -> Iterator[str]:
    """How often right and wrong facts are said to conflict with the picture."""
    rng = np.random.default_rng(0)
    for task in folds[0].classes:
        right: list[float] = []
        wrong: list[float] = []
        for fold in folds:
            labels, rows = fold.test.labels[task], fold.test.probabilities[task]
            counts = np.bincount([fold.classes[task].index(label) for r in fold.train
                                  if (label := r.labels[task])])  # fmt: skip
            for row in np.flatnonzero(labels >= 0):
                shares = np.where(np.arange(len(counts)) == labels[row], 0, counts)
                drawn = rng.choice(len(counts), WRONG_FACTS, p=shares / shares.sum())
                right.append(rows[row, labels[row]])
                wrong += rows[row, drawn].tolist()
        limit = CONFLICT_PROBABILITY
        yield (
            f"conflict, {task}: {np.mean(np.array(right) < limit):.1%} of right facts, "
            f"{np.mean(np.array(wrong) < limit):.0%} of wrong ones"
        )


def speed(fold: Fold, prior: LabelPrior) -> str:
    """Milliseconds per picture, alone and of many, with every other task known."""
    one = {task: rows[:1] for task, rows in fold.test.probabilities.items()}
    tasks = list(fold.classes)
    facts = {task: fold.classes[task][0] for task in tasks[:-1]}
    answers = {task: names[0] for task, names in fold.classes.items()}
    taken = []
    for _ in range(200):
        begun = time.perf_counter()
        prior.condition(one, [facts])
        prior.unusual(answers)
        taken.append(time.perf_counter() - begun)
    return f"{1000 * np.median(taken):.2f} ms a picture alone, facts and unusual pair together"


if __name__ == "__main__":
    typer.run(main)
