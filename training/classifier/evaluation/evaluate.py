"""`porcelain classifier evaluate`: how good a bundle is on labelled photographs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from porcelain.bundle import CLASSIFIER_MODEL_FILE, Bundle, ClassifierInfo, load_bundle
from porcelain.dataset import Dataset, load_dataset
from porcelain.files import atomic_folder, check_free, write_text
from porcelain.predictor import Predictor
from porcelain.vocabulary import load_taxonomy
from training.classifier.evaluation.doubt import evaluate_doubt
from training.classifier.evaluation.facts import Given, check_known_tasks, give_facts
from training.classifier.evaluation.inference import ProgressCallback
from training.classifier.evaluation.metrics import (
    evaluate_predictions,
    mean_f1_interval,
)
from training.classifier.evaluation.predictions import predict
from training.classifier.evaluation.results import (
    BundleName,
    DataSummary,
    Evaluation,
    MeanScores,
    TaskEvaluation,
    Unreadable,
)
from training.classifier.evaluation.selection import Subset, select

EVALUATION_FILE = "evaluation.json"
REPORT_FILE = "report.html"


def evaluate_bundle(
    bundle_path: Path,
    data: Path,
    *,
    subset: Subset = "auto",
    known: Sequence[str] = (),
    out: Path | None = None,
    overwrite: bool = False,
    resamples: int = 1000,
    seed: int = 0,
    on_progress: ProgressCallback | None = None,
) -> Evaluation:
    """Measure a classifier bundle on a dataset folder.

    Args:
        bundle_path: A classifier bundle.
        data: A dataset folder.
        subset: `auto` takes the real pictures that the bundle was neither trained nor validated
            on; `train`, `validation` and `test` the parts of its own training data; `all` all.
        known: Tasks whose labels in the folder are given as facts; the others are measured, on the
            pictures that have all of them.
        out: Folder for `evaluation.json` and `report.html`; None writes nothing.
        overwrite: Replace what is at `out`.
        resamples: Bootstrap draws for the intervals.
        seed: Of the draws.
        on_progress: Called with pictures done and in all.

    Raises:
        BundleError: Not a classifier bundle, or not what its manifest promises.
        DatasetError: Not a dataset folder, or none of the chosen pictures can be read.
        UserError: Nothing to evaluate, `out` is taken, or the bundle cannot use these facts.
    """
    if out is not None:
        check_free(out, overwrite, (bundle_path, data))
    bundle = load_bundle(bundle_path, "classifier")
    check_known_tasks(bundle.classifier, known)
    dataset = load_dataset(data)
    selection = select(dataset, bundle, subset)
    predictor = Predictor(bundle, threads=os.cpu_count() or 1, graph=selection.graph)
    predictions, unreadable = predict(predictor, dataset, selection, on_progress)
    given = give_facts(bundle.classifier, predictions, selection, known)
    evaluation = _summarise(bundle, dataset, given, unreadable, resamples, seed)
    if out is not None:
        # Drawing is needed only here, and imports the template engine.
        from training.classifier.evaluation.report import render_report

        page = render_report(evaluation, given.predictions, dataset, predictor, load_taxonomy(data))
        with atomic_folder(out, overwrite=overwrite) as folder:
            write_text(folder / EVALUATION_FILE, evaluation.model_dump_json(indent=2) + "\n")
            write_text(folder / REPORT_FILE, page)
    return evaluation


def _summarise(
    bundle: Bundle,
    dataset: Dataset,
    given: Given,
    unreadable: list[Unreadable],
    resamples: int,
    seed: int,
) -> Evaluation:
    selection, predictions, info = given.selection, given.predictions, given.info
    tasks = evaluate_predictions(
        predictions.labels,
        predictions.probabilities,
        predictions.classes,
        predictions.objects,
        # What a temperature would have been without is not defined where facts came after it.
        temperatures=None if given.known else info.temperatures,
        thresholds=info.abstention_thresholds,
        training_counts=info.label_counts,
        resamples=resamples,
        seed=seed,
    )
    tasks = {task: _with_guarantee(task, result, info) for task, result in tasks.items()}
    losses = [task.log_loss for task in tasks.values() if task.log_loss is not None]
    answers = {task: rows.argmax(axis=1) for task, rows in predictions.probabilities.items()}
    scored = [task.f1_macro for task in tasks.values() if task.f1_macro is not None]
    return Evaluation(
        bundle=BundleName(
            name=bundle.manifest.name,
            version=bundle.manifest.version,
            digest=bundle.manifest.digest(),
            graph="served" if selection.graph == CLASSIFIER_MODEL_FILE else "held-out",
        ),
        data=DataSummary(
            path=str(dataset.root),
            digest=dataset.digest(),
            subset=selection.subset,
            pictures=len(predictions.records),
            objects=len(set(predictions.objects)),
            left_out=sum(selection.left_out.values()),
            left_out_reasons=selection.left_out,
            known=given.known,
            unreadable=unreadable,
        ),
        resamples=resamples,
        seed=seed,
        tasks=tasks,
        mean=MeanScores(
            f1_macro=float(np.mean(scored)) if scored else None,
            f1_macro_interval=mean_f1_interval(
                predictions.labels,
                answers,
                {task: rows.shape[1] for task, rows in predictions.probabilities.items()},
                predictions.objects,
                resamples=resamples,
                seed=seed,
            ),
            log_loss=float(np.mean(losses)) if losses else None,
        ),
        doubt=evaluate_doubt(info, predictions, resamples=resamples, seed=seed),
        warnings=[*selection.warnings, *_warnings(tasks, unreadable)],
    )


def _with_guarantee(task: str, result: TaskEvaluation, info: ClassifierInfo) -> TaskEvaluation:
    """The result with what the bundle guarantees of the answers that it gives."""
    if result.abstention is None:
        return result
    caveat = info.abstention_caveat(task)
    holds = caveat is None
    given = {
        "guaranteed": info.selective_accuracy if holds else None,
        "confidence": info.selective_confidence if holds else None,
        "caveat": caveat,
    }
    return result.model_copy(update={"abstention": result.abstention.model_copy(update=given)})


def _warnings(tasks: dict[str, TaskEvaluation], unreadable: list[Unreadable]) -> list[str]:
    warnings = []
    for name, task in tasks.items():
        if task.support == 0:
            warnings.append(f"No picture has a {name} label, so {name} was not measured.")
        if task.unknown_labels:
            listed = ", ".join(f"{label} ({n})" for label, n in task.unknown_labels.items())
            warnings.append(
                f"The bundle has no {name} class for {listed}; these pictures count as errors."
            )
    if unreadable:
        warnings.append(
            f"{len(unreadable)} picture(s) could not be read and were skipped, first "
            f"{unreadable[0].file_name}: {unreadable[0].reason}"
        )
    return warnings
