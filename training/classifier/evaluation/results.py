"""What an evaluation says, as JSON for machines: no NaN, null where nothing could be measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from rich.console import Console
from rich.table import Table

from porcelain.bundle import Interval, TaskMetrics
from training.classifier.evaluation.doubt_results import Doubt
from training.classifier.evaluation.result import Bounds, Result


class ClassResult(Result):
    """How one class did; `support` is its number of pictures.

    Precision is null where the class was never predicted, recall where it has no picture.
    """

    precision: float | None
    recall: float | None
    f1: float
    support: int


class Confusion(Result):
    """Pictures by true label (row) and predicted label (column), both in the order of `labels`."""

    labels: list[str]
    matrix: list[list[int]]


class ReliabilityBin(Result):
    """Answers whose confidence lies in [low, high), the last bin including 1.

    Attributes:
        low: Least confidence of the bin.
        high: Its upper end.
        count: How many answers.
        confidence: Their mean confidence; null without answers.
        accuracy: Share of them that is right; null without answers.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


class Abstention(Result):
    """What is left when answers under the bundle's threshold are withheld.

    Attributes:
        threshold: Least probability of an answer that is given.
        coverage: Share of the pictures that get an answer.
        selective_accuracy: Accuracy of the answers given; null where none is.
        selective_accuracy_interval: Its 95 % interval.
        guaranteed: The accuracy that the bundle guarantees of these answers; null where none.
        confidence: The confidence with which it does; null where it guarantees none.
        caveat: Why it guarantees none; null where it does.
    """

    threshold: float
    coverage: float
    selective_accuracy: float | None
    selective_accuracy_interval: Bounds | None
    guaranteed: float | None = None
    confidence: float | None = None
    caveat: str | None = None


class StatedMass(Result):
    """How often a group of classes is said to occur, against how often it does.

    Attributes:
        classes: How many classes the group has.
        stated: Pictures that have one of them by the stated probabilities, added up.
        observed: Pictures that have one of them.
        stated_over_observed: Their ratio, 1 where probabilities mean what they say; null where none
            was observed.
        stated_over_observed_interval: Its 95 % interval.
    """

    classes: int
    stated: float
    observed: int
    stated_over_observed: float | None
    stated_over_observed_interval: Bounds | None


class ClasswiseCalibration(Result):
    """Stated mass of rare and of common classes, over the pictures whose label the bundle knows.

    A class is rare if it had less than half an equal share of the training pictures.
    """

    rare: StatedMass
    common: StatedMass


class NameableOnly(Result):
    """Scores over the pictures whose label the bundle knows."""

    support: int
    f1_macro: float | None
    accuracy: float | None


class TaskEvaluation(Result):
    """One task over all pictures with a known label; every score is null where there is none.

    Attributes:
        support: Pictures with a label.
        objects: Distinct objects among them, the unit of the bootstrap.
        f1_macro: Mean F1 over every label that occurs or was predicted, as scikit-learn has it.
        log_loss: Mean negative logarithm of the probability of the true label, over the pictures
            whose label the bundle knows.
        classwise_calibration: Whether rare and common classes are stated as often as they occur;
            null where it is not known which are rare.
        ece: Expected calibration error of the bundle's probabilities.
        ece_uncalibrated: The same before temperature scaling; null without a temperature.
        temperature: The bundle's softmax temperature.
        unknown_labels: Pictures per label that the bundle has no class for. They count as errors.
        nameable_only: Scores without those pictures; null where there are none of them.
    """

    support: int
    objects: int
    f1_macro: float | None
    f1_macro_interval: Bounds | None
    accuracy: float | None
    accuracy_interval: Bounds | None
    balanced_accuracy: float | None
    balanced_accuracy_interval: Bounds | None
    log_loss: float | None
    log_loss_interval: Bounds | None
    ece: float | None
    ece_uncalibrated: float | None
    temperature: float | None
    classwise_calibration: ClasswiseCalibration | None
    abstention: Abstention | None
    classes: dict[str, ClassResult]
    confusion: Confusion
    reliability: list[ReliabilityBin]
    reliability_uncalibrated: list[ReliabilityBin]
    unknown_labels: dict[str, int]
    nameable_only: NameableOnly | None


class BundleName(Result):
    """Which model was evaluated.

    Attributes:
        name: The bundle's name.
        version: Its version.
        digest: One name for exactly its files.
        graph: `served`, the model that answers requests, or `held-out`, its twin that learned
            from the training part alone, where the pictures are the bundle's own.
    """

    name: str
    version: str
    digest: str
    graph: Literal["served", "held-out"]


class Unreadable(Result):
    """A picture that could not be read, and why."""

    file_name: str
    reason: str


class DataSummary(Result):
    """What it was evaluated on.

    Attributes:
        path: The dataset folder.
        digest: `Dataset.digest()` of the whole folder.
        subset: Which pictures of it were taken; `auto` are those the bundle did not learn from.
        pictures: How many were evaluated.
        objects: How many objects they show.
        left_out: How many the subset left out.
        left_out_reasons: The same by reason.
        known: Tasks whose labels the bundle was given as facts; they are not measured.
        unreadable: Pictures that could not be read; they are in neither number.
    """

    path: str
    digest: str
    subset: str
    pictures: int
    objects: int
    left_out: int
    left_out_reasons: dict[str, int]
    known: tuple[str, ...] = ()
    unreadable: list[Unreadable]


class MeanScores(Result):
    """Means over the tasks that have labels."""

    f1_macro: float | None
    f1_macro_interval: Bounds | None
    log_loss: float | None


class Evaluation(Result):
    """The whole result: the content of `evaluation.json`."""

    bundle: BundleName
    data: DataSummary
    resamples: int
    seed: int
    tasks: dict[str, TaskEvaluation]
    mean: MeanScores
    doubt: Doubt
    warnings: list[str]

    def print_summary(self, console: Console) -> None:
        """Print the scores of every task as a table, and what to know before trusting them."""
        data = self.data
        table = Table(
            "task",
            "pictures",
            "F1-macro",
            "balanced accuracy",
            "accuracy",
            "log loss",
            "calibration error",
            title=f"{self.bundle.name}, {self.bundle.graph} model, {data.pictures} pictures "
            f"({data.subset}; {data.left_out} left out), 95 % intervals"
            + (f", {' and '.join(data.known)} known" if data.known else ""),
        )
        for name, task in self.tasks.items():
            table.add_row(
                name,
                str(task.support),
                _text(task.f1_macro, task.f1_macro_interval),
                _text(task.balanced_accuracy, task.balanced_accuracy_interval),
                _text(task.accuracy, task.accuracy_interval),
                _text(task.log_loss, task.log_loss_interval),
                _text(task.ece, None),
            )
        mean = _text(self.mean.f1_macro, self.mean.f1_macro_interval)
        table.add_row("mean", "", mean, "", "", _text(self.mean.log_loss, None), "", style="bold")
        console.print(table)
        for line in (*self._calibration(), *self._doubt()):
            console.print(line, markup=False, soft_wrap=True)
        for warning in self.warnings:
            console.print(f"Note: {warning}", markup=False, soft_wrap=True)

    def _calibration(self) -> Iterator[str]:
        """Stated mass of rare and common classes, and what abstention guarantees, a line each."""
        ratios = [
            f"{task} {_ratio(found.rare)} and {_ratio(found.common)}"
            for task, result in self.tasks.items()
            if (found := result.classwise_calibration) is not None
        ]
        if ratios:
            yield f"Stated over observed frequency, rare and common classes: {', '.join(ratios)}."
        for task, result in self.tasks.items():
            if (given := result.abstention) is None:
                continue
            said = f"{task}: {given.coverage:.1%} answered, from {given.threshold:.2f} on"
            if given.selective_accuracy is not None:
                said += f", {given.selective_accuracy:.1%} of them right"
            if given.guaranteed is not None:
                said += f"; {given.guaranteed:.0%} guaranteed ({given.confidence:.0%} confidence)"
            yield f"{said}."
            if given.caveat is not None:
                yield f"{task}: no accuracy is guaranteed. {given.caveat}"

    def _doubt(self) -> Iterator[str]:
        """Label sets and likeness, a line each."""
        sets = self.doubt.label_sets
        if sets:
            stated = next(iter(sets.values())).stated
            listed = ", ".join(
                f"{task} {one.coverage:.1%} with {one.mean_size:.1f} labels"
                for task, one in sets.items()
            )
            yield f"Label sets of {stated:.0%} hold the true label: {listed}."
        if (likeness := self.doubt.likeness) is not None:
            yield (
                f"Like the training pictures: {likeness.in_domain:.1%} "
                f"({likeness.stated:.0%} meant)."
            )


def bundle_metrics(evaluations: Mapping[str, TaskEvaluation]) -> dict[str, TaskMetrics]:
    """What a bundle's manifest stores; tasks without a single labelled picture are left out."""
    return {task: _task_metrics(e) for task, e in evaluations.items() if e.support > 0}


def _task_metrics(evaluation: TaskEvaluation) -> TaskMetrics:
    return TaskMetrics(
        support=evaluation.support,
        f1_macro=_interval(evaluation.f1_macro, evaluation.f1_macro_interval),
        balanced_accuracy=_interval(
            evaluation.balanced_accuracy, evaluation.balanced_accuracy_interval
        ),
        accuracy=_interval(evaluation.accuracy, evaluation.accuracy_interval),
        expected_calibration_error=evaluation.ece or 0.0,
        log_loss=evaluation.log_loss,
    )


def _text(value: float | None, bounds: Bounds | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if bounds is None else f"{value:.3f}\n{bounds[0]:.3f}–{bounds[1]:.3f}"


def _ratio(mass: StatedMass) -> str:
    value = mass.stated_over_observed
    return "-" if value is None else f"{value:.2f}"


def _interval(value: float | None, bounds: Bounds | None) -> Interval:
    if value is None or bounds is None:
        raise ValueError("A task with support has every score.")
    return Interval(value=value, low=bounds[0], high=bounds[1])
