"""`porcelain data audit`: labels that are probably wrong, and blanks that could be filled."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from porcelain.bundle import Bundle, load_bundle
from porcelain.dataset import Dataset, Record, load_dataset
from porcelain.errors import DatasetError
from porcelain.files import atomic_folder, check_free, write_json, write_text
from porcelain.predictor import Predictor
from training.audit.out_of_fold import (
    ProgressCallback,
    answer_fold,
    frozen_features,
    load_backbone,
)
from training.audit.scores import (
    FILL_CONFIDENCE,
    Judgement,
    class_thresholds,
    fill_threshold,
    is_probably_wrong,
    judge,
)
from training.classifier.evaluation.inference import answer
from training.classifier.evaluation.selection import content_digests
from training.classifier.known_facts import count_combinations
from training.data.digests import known_parts
from training.data.duplicates import duplicate_groups
from training.data.split import Split, make_folds

SUMMARY_FILE: Final = "audit.json"
LABELS_FILE: Final = "labels.csv"
BLANKS_FILE: Final = "blanks.csv"
RARE_FILE: Final = "combinations.csv"
PAGE_FILE: Final = "audit.html"

REVIEW_COLUMNS: Final = ("new_label", "who", "when", "why")
"""Blank columns for the person who reviews; `porcelain data merge` reads them."""

_WORK_NAMES: Final = ("pictures.pixels", "pictures.json")


class AuditSettings(BaseModel):
    """Settings of `porcelain data audit`.

    Attributes:
        backbone: timm's name of the model that sees the pictures.
        pretrained: `auto`, `none` or a safetensors file.
        folds: Parts that each are judged by what the others taught.
        precision: Share of filled blanks that are to be right.
        seed: Of the folds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str = "mobilenetv3_large_100"
    pretrained: str = "auto"
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    precision: Annotated[float, Field(gt=0, lt=1)] = 0.95
    seed: int = 0


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes:
        judgements: Of labels, the most suspicious first.
        blanks: Of blanks, the surest first; those that may be filled reach their threshold.
        rare: Pictures whose combination of labels occurs once.
        fill_thresholds: Per task; None where no precision can be stated.
        summary: Counts, as `audit.json` holds them.
    """

    judgements: list[Judgement]
    blanks: list[Judgement]
    rare: list[Record]
    fill_thresholds: dict[str, float | None]
    summary: dict[str, Any]


def audit_dataset(
    data: Path,
    out: Path,
    settings: AuditSettings,
    *,
    bundle: Path | None = None,
    overwrite: bool = False,
    on_progress: ProgressCallback | None = None,
) -> Audit:
    """Judge every label of a dataset folder by models that have not learned from its picture.

    Interrupted, it goes on when called again. Nothing in the dataset folder is changed.

    Args:
        data: A dataset folder.
        out: Where the folder with the tables and the contact sheet is to appear.
        settings: How.
        bundle: A classifier bundle, whose answers are taken for the pictures that it has not
            learned from: its test part, by its held-out graph, and pictures that are new to it.
        overwrite: Replace what is at `out`.
        on_progress: Called with what is done, and pictures done and in all.

    Raises:
        UserError: Dataset, weights or bundle do not fit, or `out` is taken.
    """
    check_free(out, overwrite, (data,) if bundle is None else (data, bundle))
    dataset = load_dataset(data)
    real = Dataset(dataset.root, tuple(r for r in dataset.records if not r.synthetic))
    if len(real) < settings.folds:
        raise DatasetError(f"{data} has {len(real)} real picture(s); an audit needs more.")
    opened = None if bundle is None else load_bundle(bundle, "classifier")
    identity = settings.model_dump(mode="json") | {
        "data": real.digest(),
        "bundle": None if opened is None else opened.manifest.digest(),
    }
    with atomic_folder(out, settings=identity, overwrite=overwrite) as folder:
        judgements, unreadable, by_bundle = _judge_all(real, folder, settings, opened, on_progress)
        found = _summarise(real, judgements, settings, unreadable, by_bundle)
        _write(folder, found, dataset)
        for path in (*folder.glob("features-*.npy"), *(folder / name for name in _WORK_NAMES)):
            path.unlink(missing_ok=True)
    return found


def _judge_all(
    real: Dataset,
    work: Path,
    settings: AuditSettings,
    bundle: Bundle | None,
    on_progress: ProgressCallback | None,
) -> tuple[list[Judgement], dict[str, str], int]:
    backbone = load_backbone(settings.backbone, settings.pretrained)
    features, unusable = frozen_features(real, backbone, work, on_progress)
    usable = [i for i in range(len(real)) if i not in unusable]
    records = [real.records[i] for i in usable]
    features = features[usable]
    tasks = list(records[0].labels)
    groups = duplicate_groups(real)
    splits = make_folds(Dataset(real.root, tuple(records)), settings.folds, settings.seed, groups)
    own = _bundle_judgements(bundle, real, records, on_progress)
    judgements = []
    for number, split in enumerate(splits, start=1):
        judgements += _judge_fold(features, records, split, tasks, own)
        if on_progress is not None:
            on_progress("Judging folds", number, len(splits))
    reasons = {real.records[i].file_name: reason for i, reason in unusable.items()}
    return judgements, reasons, len({file_name for file_name, _ in own})


def _judge_fold(
    features: Any,  # noqa: ANN401 - a float array
    records: Sequence[Record],
    split: Split,
    tasks: Sequence[str],
    own: dict[tuple[str, str], Any],
) -> list[Judgement]:
    answers = answer_fold(features, records, split, tasks)
    names = {part: set(listed) for part, listed in split.names.items()}
    learned = [record for record in records if record.file_name in names["train"]]
    tested = {record.file_name: record for record in records if record.file_name in names["test"]}
    ordered = [tested[name] for name in split.names["test"] if name in tested]
    for task, labels in answers.classes.items():
        for row, record in enumerate(ordered):
            found = own.get((record.file_name, task))
            if found is not None and set(labels) <= set(found):
                shares = np.array([found[label] for label in labels])
                answers.test[task][row] = shares / shares.sum()
    counted = count_combinations(learned, answers.classes)
    return judge(ordered, answers.classes, answers.test, counted)


def _bundle_judgements(
    bundle: Bundle | None,
    real: Dataset,
    records: Sequence[Record],
    on_progress: ProgressCallback | None,
) -> dict[tuple[str, str], dict[str, float]]:
    """A bundle's probabilities by picture and task, of pictures that its graph did not learn."""
    if bundle is None:
        return {}
    known = known_parts(bundle)
    digests = dict(zip((r.file_name for r in real.records), content_digests(real), strict=True))
    learned = {"train", "validation"}
    new = [r for r in records if known and known.get(digests[r.file_name]) not in learned]
    if not new:
        return {}
    predictor = Predictor(bundle, graph=bundle.measured_graph)
    say = on_progress or (lambda part, done, total: None)
    paths = [real.path(record) for record in new]
    answers = answer(predictor, paths, lambda d, t: say("Asking the bundle", d, t))
    labels = bundle.classifier.labels
    return {
        (new[i].file_name, task): dict(zip(labels[task], map(float, rows[row]), strict=True))
        for task, rows in answers.probabilities.items()
        for row, i in enumerate(answers.readable)
    }


def _summarise(
    real: Dataset,
    judgements: Sequence[Judgement],
    settings: AuditSettings,
    unreadable: dict[str, str],
    by_bundle: int,
) -> Audit:
    usual = class_thresholds(judgements)
    labels = [
        replace(one, probably_wrong=is_probably_wrong(one, usual))
        for one in judgements
        if one.label is not None
    ]
    labels.sort(key=lambda one: (-one.suspicion, one.file_name, one.task))
    blanks = [one for one in judgements if one.label is None]
    blanks.sort(key=lambda one: (-one.suggested_probability, one.file_name, one.task))
    tasks = sorted({one.task for one in judgements})
    thresholds = {task: fill_threshold(labels, task, settings.precision) for task in tasks}
    rare = [record for record in occurring_once(real.records) if record.file_name not in unreadable]
    judged = Counter(one.task for one in labels)
    summary = {
        "settings": settings.model_dump(mode="json"),
        "pictures": len(real),
        "unreadable": unreadable,
        "answered_by_bundle": by_bundle,
        "labels_judged": dict(judged),
        "labels_too_rare_to_judge": {
            task: sum(r.labels[task] is not None for r in real.records) - judged[task]
            for task in tasks
        },
        "probably_wrong": dict(Counter(one.task for one in labels if one.probably_wrong)),
        "combinations_that_occur_once": len(rare),
        "blanks": dict(Counter(one.task for one in blanks)),
        "blanks_to_fill": {
            task: sum(may_fill(one, thresholds) for one in blanks if one.task == task)
            for task in tasks
        },
        "fill_thresholds": thresholds,
        "fill_precision": settings.precision,
        "fill_confidence": FILL_CONFIDENCE,
    }
    return Audit(labels, blanks, rare, thresholds, summary)


def occurring_once(records: Sequence[Record]) -> list[Record]:
    """The pictures whose known labels no other picture has together."""

    def known(record: Record) -> tuple[str, ...]:
        return tuple(task for task, label in record.labels.items() if label is not None)

    counts = {
        tasks: Counter(tuple(record.labels[task] for task in tasks) for record in records)
        for tasks in {known(record) for record in records}
    }
    return [
        record
        for record in records
        if (tasks := known(record))
        and counts[tasks][tuple(record.labels[task] for task in tasks)] == 1
    ]


def may_fill(one: Judgement, thresholds: dict[str, float | None]) -> bool:
    """Whether a blank's suggestion reaches the threshold of its task."""
    threshold = thresholds.get(one.task)
    return one.label is None and threshold is not None and one.suggested_probability >= threshold


def _write(folder: Path, found: Audit, dataset: Dataset) -> None:
    # Drawing is needed only here, and imports the template engine.
    from training.audit.page import render_page

    write_text(folder / LABELS_FILE, _table(found.judgements, found.fill_thresholds))
    write_text(folder / BLANKS_FILE, _table(found.blanks, found.fill_thresholds))
    write_text(folder / RARE_FILE, _rare_table(found.rare))
    write_json(folder / SUMMARY_FILE, found.summary)
    write_text(folder / PAGE_FILE, render_page(found, dataset))


def _table(judgements: Sequence[Judgement], thresholds: dict[str, float | None]) -> str:
    """A table for spreadsheets, that `porcelain data merge` reads once its blanks are filled."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    blank = bool(judgements) and judgements[0].label is None
    verdict = "may_be_filled" if blank else "probably_wrong"
    writer.writerow(
        ["rank", "file_name", "task", "old_label", "suggested", "old_probability",
         "suggested_probability", verdict, *REVIEW_COLUMNS]
    )  # fmt: skip
    for rank, one in enumerate(judgements, start=1):
        yes = may_fill(one, thresholds) if blank else one.probably_wrong
        writer.writerow(
            [
                rank,
                one.file_name,
                one.task,
                one.label or "",
                one.suggested,
                "" if one.label_probability is None else f"{one.label_probability:.4f}",
                f"{one.suggested_probability:.4f}",
                "yes" if yes else "no",
                *("" for _ in REVIEW_COLUMNS),
            ]
        )
    return text.getvalue()


def _rare_table(rare: Sequence[Record]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    tasks = list(rare[0].labels) if rare else []
    writer.writerow(["file_name", *tasks])
    for record in rare:
        writer.writerow([record.file_name, *(record.labels[task] or "" for task in tasks)])
    return text.getvalue()
