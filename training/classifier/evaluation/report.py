"""The evaluation as one self-contained HTML page for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from porcelain.dataset import Dataset
from porcelain.predictor import Predictor
from porcelain.vocabulary import Taxonomy, Term, task_term
from training.classifier.evaluation.charts import (
    Bar,
    CoverageCurve,
    Matrix,
    bars,
    confusions,
    coverage_curve,
    matrix,
)
from training.classifier.evaluation.mistakes import (
    Illustration,
    Mistake,
    illustrate,
    worst_mistakes,
)
from training.classifier.evaluation.predictions import Predictions
from training.classifier.evaluation.results import Evaluation, TaskEvaluation
from training.pages.page import page_templates

TEMPLATE = "report.html.jinja"


@dataclass(frozen=True)
class TaskSection:
    """What the page shows of one task."""

    task: str
    name: Term
    result: TaskEvaluation
    right: int
    wrong: int
    threshold: float
    matrix: Matrix
    confusions: list[tuple[str, str, int]]
    before: list[Bar]
    after: list[Bar]
    curve: CoverageCurve
    mistakes: list[tuple[Mistake, Illustration]]


def render_report(
    evaluation: Evaluation,
    predictions: Predictions,
    dataset: Dataset,
    predictor: Predictor,
    taxonomy: Taxonomy,
) -> str:
    """One HTML page with no reference to anything outside itself.

    Args:
        evaluation: The scores.
        predictions: The answers that they were computed from.
        dataset: Where the pictures of the mistakes are read.
        predictor: Draws what the model looked at.
        taxonomy: English and Chinese names.
    """
    sections = [
        _section(task, result, predictions, dataset, predictor)
        for task, result in evaluation.tasks.items()
        if result.support > 0
    ]
    templates = page_templates("training.classifier.evaluation")
    return templates.get_template(TEMPLATE).render(
        evaluation=evaluation,
        info=predictor.info,
        sections=sections,
        names=_names(evaluation, taxonomy),
    )


def _section(
    task: str,
    result: TaskEvaluation,
    predictions: Predictions,
    dataset: Dataset,
    predictor: Predictor,
) -> TaskSection:
    known = predictions.labels[task] >= 0
    probabilities = predictions.probabilities[task][known]
    correct = probabilities.argmax(axis=1) == predictions.labels[task][known]
    mistakes = worst_mistakes(predictions, task)
    pictures = illustrate(mistakes, task, predictions, dataset, predictor)
    return TaskSection(
        task=task,
        name=task_term(task),
        result=result,
        right=int(correct.sum()),
        wrong=int((~correct).sum()),
        threshold=result.abstention.threshold if result.abstention is not None else 0.0,
        matrix=matrix(result.confusion, frozenset(result.unknown_labels)),
        confusions=confusions(result.confusion),
        before=bars(result.reliability_uncalibrated),
        after=bars(result.reliability),
        curve=coverage_curve(probabilities.max(axis=1), correct),
        mistakes=list(zip(mistakes, pictures, strict=True)),
    )


def _names(evaluation: Evaluation, taxonomy: Taxonomy) -> dict[str, dict[str, Term]]:
    """Names per task and label, for every label that the page may show."""
    result: dict[str, dict[str, Term]] = {}
    for task in evaluation.tasks:
        labels: Any = evaluation.tasks[task].confusion.labels
        result[task] = {label: taxonomy.term(task, label) for label in labels}
    return result
