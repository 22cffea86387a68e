r"""Which rule makes logits into probabilities that come true? On the folds of `real_photographs`.

Each fold's rule is fitted on its validation photographs and judged on its test photographs. The
rules are softmax((z - tau log prior) / T) with T fitted by likelihood and tau fixed (post-hoc logit
adjustment, Menon et al., arXiv 2007.07314, and temperature scaling, Guo et al., arXiv 1706.04599),
tau fitted too, and a bias per class in its place (bias-corrected temperature scaling, Alexandari et
al., arXiv 1901.06852). Files are read, nothing is trained: raw logits that `real_photographs`
leaves, of each fold and member `fold0-NAME.npz`; the logits of several members are averaged.

    python -m benchmarks.calibration --logits runs/real/logits
    python -m benchmarks.calibration --logits LOGITS --members P-0 --members P-1 --members P-2

Printed per task and rule, over all test photographs: log loss, F1-macro, accuracy, and stated over
observed frequency of rare and of common classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from scipy.optimize import minimize
from scipy.special import log_softmax

from training.classifier.calibration import FloatArray, IntArray, apply_temperature, fit_temperature
from training.classifier.evaluation.metrics import evaluate_predictions

WHOLE: Final = "all"
"""The name of the members' average that `real_photographs` leaves."""

SHIFTS: Final = (0.0, 0.25, 0.5)


@dataclass(frozen=True)
class Part:
    """One task of one fold, known labels only, which are class indices [N].

    Attributes:
        validation: Raw logits [V, classes] and labels [V].
        test: Raw logits [N, classes] and labels [N].
        log_priors: Log share of the training pictures [classes].
        counts: Training photographs by label.
    """

    validation: tuple[FloatArray, IntArray]
    test: tuple[FloatArray, IntArray]
    log_priors: FloatArray
    counts: dict[str, int]


Rule = Callable[[Part], FloatArray]
"""Probabilities [N, classes] of the test photographs."""


def shifted(shift: float) -> Rule:
    """A fixed share of the log priors taken off, then a temperature fitted."""

    def rule(part: Part) -> FloatArray:
        logits, labels = part.validation
        taken = shift * part.log_priors
        return apply_temperature(part.test[0] - taken, fit_temperature(logits - taken, labels))

    return rule


def fitted_shift(part: Part) -> FloatArray:
    """Share of the log priors and temperature fitted together."""
    return _fitted(part, lambda given: given[1] * part.log_priors, [0.0, 0.0])


def fitted_biases(part: Part) -> FloatArray:
    """A bias per class and the temperature fitted together, weakly held to zero."""
    return _fitted(part, lambda given: given[1:], [0.0] * (1 + len(part.log_priors)))


def _fitted(
    part: Part, bias: Callable[[FloatArray], FloatArray], start: Sequence[float]
) -> FloatArray:
    logits, labels = part.validation
    rows = np.arange(len(labels))

    def loss(given: FloatArray) -> float:
        scaled = log_softmax((logits - bias(given)) / np.exp(given[0]), axis=1)
        # A standard normal prior: without it a class without validation pictures has no bound.
        return float(-scaled[rows, labels].sum() + 0.5 * np.square(given).sum())

    found = minimize(loss, np.asarray(start), method="L-BFGS-B").x
    return apply_temperature(part.test[0] - bias(found), float(np.exp(found[0])))


RULES: Final[Mapping[str, Rule]] = {
    **{f"shift {shift}": shifted(shift) for shift in SHIFTS},
    "shift fitted": fitted_shift,
    "biases fitted": fitted_biases,
}


def main(
    logits: Annotated[Path, typer.Option(help="Folder with the folds' npz files.")],
    members: Annotated[
        list[str] | None, typer.Option(help="Names of the members to average.")
    ] = None,
) -> None:
    """Compare the rules over the folds that have all of these members."""
    members = members or [WHOLE]
    folds = folds_with(logits, members)
    files = [[np.load(logits / f"fold{fold}-{name}.npz") for name in members] for fold in folds]
    tasks = [key.removeprefix("classes-") for key in files[0][0] if key.startswith("classes-")]
    table = Table(
        "task", "rule", "log loss", "F1-macro", "accuracy", "rare: stated / observed", "common",
        title=f"{' + '.join(members)}, folds {', '.join(map(str, folds))}",
    )  # fmt: skip
    means: dict[str, list[list[float]]] = {name: [] for name in RULES}
    for column, task in enumerate(tasks):
        parts = [read_part(loaded, task, column) for loaded in files]
        for name, rule in RULES.items():
            values = _judge([(part, rule(part)) for part in parts])
            means[name].append(values)
            table.add_row(task, name, *(f"{value:.3f}" for value in values))
    for name, rows in means.items():
        table.add_row("mean", name, *(f"{value:.3f}" for value in np.mean(rows, axis=0)))
    Console(width=120).print(table)


def folds_with(logits: Path, members: Sequence[str]) -> list[int]:
    """The folds that have all of these members.

    Raises:
        typer.BadParameter: There is none.
    """
    folds = [
        fold
        for fold in range(100)
        if all((logits / f"fold{fold}-{name}.npz").is_file() for name in members)
    ]
    if not folds:
        raise typer.BadParameter(f"no fold of {logits} has all of {', '.join(members)}")
    return folds


def read_part(members: Sequence[Any], task: str, column: int) -> Part:
    """One task of a fold, from its members' loaded files; their logits are averaged."""

    def known(subset: str) -> tuple[FloatArray, IntArray]:
        labels = members[0][f"{subset}-labels"][:, column]
        mean = np.mean([member[f"{subset}-{task}"] for member in members], axis=0)
        return mean[labels >= 0], labels[labels >= 0]

    classes, counts = members[0][f"classes-{task}"], members[0][f"counts-{task}"]
    return Part(
        known("validation"),
        known("test"),
        np.mean([member[f"priors-{task}"] for member in members], axis=0),
        {str(name): int(count) for name, count in zip(classes, counts, strict=True)},
    )


def _judge(answers: Sequence[tuple[Part, FloatArray]]) -> list[float]:
    """The table's numbers over the test photographs of all folds together."""
    classes = sorted({name for part, _ in answers for name in part.counts})
    index = {name: i for i, name in enumerate(classes)}
    labels, rows = [], []
    for part, probabilities in answers:
        places = np.array([index[name] for name in part.counts])
        wide = np.zeros((len(probabilities), len(classes)))
        wide[:, places] = probabilities
        rows.append(wide)
        labels.append(places[part.test[1]])
    truth = np.concatenate(labels)
    counts = {name: sum(part.counts.get(name, 0) for part, _ in answers) for name in classes}
    result = evaluate_predictions(
        {"task": truth},
        {"task": np.concatenate(rows)},
        {"task": classes},
        [str(i) for i in range(len(truth))],
        training_counts={"task": counts},
        resamples=100,
    )["task"]
    found = result.classwise_calibration
    if found is None:
        raise RuntimeError("which classes are rare is known here")
    values = [result.log_loss, result.f1_macro, result.accuracy]
    values += [found.rare.stated_over_observed, found.common.stated_over_observed]
    return [float("nan") if value is None else value for value in values]


if __name__ == "__main__":
    typer.run(main)
