"""From a dataset folder to a classifier bundle: every step of `porcelain classifier train`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import set_seed
from torch import Tensor

from porcelain.bundle import Bundle, check_name, load_bundle
from porcelain.dataset import Dataset, Record, label_indices, load_dataset, subset
from porcelain.errors import DatasetError
from porcelain.files import atomic_folder, check_free, open_work_folder
from porcelain.vocabulary import TASKS
from training.classifier.bundling import Fitted, write_classifier
from training.classifier.model import (
    MultiTaskClassifier,
    create_backbone,
    load_hub_weights,
    load_weights_file,
)
from training.classifier.pictures import Pictures, prepare_pictures
from training.classifier.records import EpochRecord, LabelledPictures
from training.classifier.rendered import RenderedPool, find_rendered
from training.classifier.settings import TrainSettings
from training.classifier.similar import SimilarKept
from training.classifier.trained import Trained
from training.classifier.trainer import ClassifierTrainer
from training.data.check import refuse_misleading
from training.data.split import SUBSETS, Split, split_or_make
from training.data.undeclared import refuse_undeclared
from training.processes import open_accelerator


@dataclass(frozen=True)
class Reporter:
    """What a caller hears while training goes on. Every hook may be left out."""

    message: Callable[[str], None] = lambda text: None
    preparing: Callable[[int, int], None] = lambda done, total: None
    rendering: Callable[[int, int], None] = lambda done, total: None
    epoch: Callable[[EpochRecord], None] = lambda record: None


def train_classifier(
    data: Path,
    out: Path,
    settings: TrainSettings,
    *,
    split: Path | None = None,
    logs: Path | None = None,
    name: str = "porcelain-classifier",
    similar: SimilarKept = "names",
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> Bundle:
    """Train, calibrate, export, verify and measure; leave a bundle at `out`.

    Interrupted, it goes on from the last epoch when called again with equal arguments.

    Args:
        data: A dataset folder.
        out: Where the bundle is to appear.
        settings: How to train.
        split: A `split.json`; by default the dataset's own, or one made from the seed.
        logs: Folder for TensorBoard; none by default.
        name: The model's name.
        similar: What the bundle keeps of the pictures that it was trained on.
        overwrite: Replace what is at `out`.
        reporter: Hears of progress.

    Returns:
        The verified bundle.

    Raises:
        UserError: Arguments, dataset, split or weights do not fit.
    """
    reporter = reporter or Reporter()
    check_name(name)
    check_free(out, overwrite, (data,))
    refuse_misleading(data, split)
    work = out.parent / f".{out.name}.training"
    fitted = fit(data, work, settings, split=split, logs=logs, reporter=reporter)
    accelerator = fitted.trained.trainers[0].accelerator
    final = None
    if settings.refit and any(fitted.split.names[part] for part in SUBSETS[1:]):
        reporter.message(
            "Measured. Now once more with every picture, for the model that will be served"
        )
        final = refit(fitted, work / "refit", reporter)
    if accelerator.is_main_process:
        reporter.message("Exporting to ONNX")
        with atomic_folder(out, overwrite=overwrite) as folder:
            kept = write_classifier(folder, fitted, name, final, similar)
        reporter.message(kept)
        shutil.rmtree(work)
    accelerator.wait_for_everyone()
    return load_bundle(out, "classifier")


def fit(
    data: Path,
    work: Path,
    settings: TrainSettings,
    *,
    split: Path | None = None,
    logs: Path | None = None,
    reporter: Reporter | None = None,
) -> Fitted:
    """Everything up to the trained weights: split, labels, weights to start from, epochs.

    Args:
        data: A dataset folder.
        work: Folder of decoded pictures and the checkpoint. Work found there that was begun with
            equal settings, pictures and split is continued; other work is replaced.
        settings: How to train.
        split: A `split.json`; by default the dataset's own, or one made from the seed.
        logs: Folder for TensorBoard; none by default.
        reporter: Hears of progress.

    Raises:
        UserError: Dataset, split or weights do not fit, or a picture is synthetic and declared
            real.
    """
    reporter = reporter or Reporter()
    accelerator = open_accelerator()
    dataset = load_dataset(data)
    refuse_undeclared(dataset)
    parts = split_or_make(dataset, split, seed=settings.seed)
    classes = _classes(dataset, parts)
    start, settings = _load_start(settings, reporter)
    train = subset(dataset, parts.names["train"])
    pool = find_rendered(dataset, train, settings, work, reporter.message)
    identity = {
        "settings": settings.model_dump(mode="json"),
        "data": dataset.digest(),
        "split": {part: list(parts.names[part]) for part in SUBSETS},
        "rendered": None if pool is None else pool.identity(),
    }
    if accelerator.is_main_process:
        open_work_folder(work, identity)
    accelerator.wait_for_everyone()
    # The main process decodes; the others find its files.
    with accelerator.main_process_first():
        pictures = {
            part: _load_part(dataset, parts.names[part], classes, part, settings, work, reporter)
            for part in SUBSETS
        }
        material = _material(pictures["train"], pool, classes, settings, work, reporter)
    initial, trainers = [], []
    for number in range(len(material)):
        own = settings.of_member(number)
        model = _untrained(own, classes)
        if start is not None:
            model.backbone.load_state_dict(start)
        # Copied before the trainer goes on from a checkpoint.
        initial.append({name: value.clone() for name, value in model.state_dict().items()})
        trainer = ClassifierTrainer(
            model,
            own,
            material[number],
            pictures["validation"],
            _place(work, number, settings, reporter),
            accelerator,
        )
        trainer.train(reporter.epoch, _logs(logs, number, settings))
        trainers.append(trainer)
    trained = Trained.of(settings, trainers)
    return Fitted(dataset, parts, classes, trained, pictures, tuple(initial), pool)


def refit(
    fitted: Fitted,
    work: Path,
    reporter: Reporter | None = None,
    parts: Sequence[str] = SUBSETS,
) -> Trained:
    """Train again, on every picture of these parts, as long as validation found best.

    Rare kinds have a handful of photographs, and a fifth of them was held back so far. What this
    model is worth cannot be measured on the same pictures; the recipe's worth was.

    Args:
        fitted: The measured model.
        work: Folder of decoded pictures and the checkpoint.
        reporter: Hears of progress.
        parts: The parts to learn from, by default all.

    Returns:
        The model with its final weights.
    """
    reporter = reporter or Reporter()
    settings = fitted.trained.settings
    accelerator = fitted.trained.trainers[0].accelerator
    names = [name for part in parts for name in fitted.split.names[part]]
    if accelerator.is_main_process:
        work.mkdir(exist_ok=True)
    accelerator.wait_for_everyone()
    with accelerator.main_process_first():
        everything = _load_part(
            fitted.dataset, names, fitted.classes, "train", settings, work, reporter
        )
        pool = fitted.rendered
        material = _material(everything, pool, fitted.classes, settings, work, reporter)
    nothing = LabelledPictures(
        Pictures(np.zeros((0, settings.input_size, settings.input_size, 3), np.uint8), {}),
        torch.zeros((0, len(fitted.classes)), dtype=torch.int64),
    )
    trainers = []
    for number, measured in enumerate(fitted.trained.trainers):
        own = settings.of_member(number)
        model = _untrained(own, fitted.classes)
        model.load_state_dict(fitted.initial[number])
        place = _place(work, number, settings, reporter)
        trainer = ClassifierTrainer(model, own, material[number], nothing, place, accelerator)
        trainer.train(reporter.epoch, epochs=measured.progress.best_epoch)
        trainers.append(trainer)
    return Trained.of(settings, trainers)


def _material(
    photographs: LabelledPictures,
    pool: RenderedPool | None,
    classes: dict[str, list[str]],
    settings: TrainSettings,
    work: Path,
    reporter: Reporter,
) -> list[LabelledPictures]:
    """What each member learns from: the photographs, and rendered vessels of its own draw."""
    members = settings.members or 1
    if pool is None:
        return [photographs] * members
    draws = [
        pool.draw(photographs.records, settings.of_member(number).seed)
        if settings.sees_rendered(number)
        else []
        for number in range(members)
    ]
    needed = list({record.file_name: record for drawn in draws for record in drawn}.values())
    seeing = sum(map(bool, draws))
    reporter.message(
        f"{seeing} of {members} model(s) also learn from {max(map(len, draws))} rendered vessels "
        f"each, {pool.share:.0%} of what they see"
    )
    pool.render(needed, reporter.rendering)
    rendered = prepare_pictures(
        [pool.root / record.file_name for record in needed],
        settings.cached_size,
        settings.cached_rule(),
        work / "rendered.pixels",
        reporter.preparing,
    )
    place = {record.file_name: row for row, record in enumerate(needed)}
    mixed = []
    for drawn in draws:
        usable = [r for r in drawn if place[r.file_name] not in rendered.unusable]
        rows = np.array([place[record.file_name] for record in usable], dtype=np.int64)
        mixed.append(
            LabelledPictures(
                replace(photographs.pictures, added=(rendered.pixels, rows)),
                torch.cat([photographs.labels, _label_rows(usable, classes)]),
                (*photographs.records, *usable),
            )
        )
    return mixed


def _untrained(settings: TrainSettings, classes: dict[str, list[str]]) -> MultiTaskClassifier:
    """One member with the random weights of its seed."""
    set_seed(settings.seed)
    return MultiTaskClassifier(
        settings.backbone,
        {task: len(labels) for task, labels in classes.items()},
        dropout=settings.dropout,
    )


def _place(work: Path, number: int, settings: TrainSettings, reporter: Reporter) -> Path:
    """The folder of a member's checkpoint; says which member is next where there are several."""
    if settings.members > 1:
        reporter.message(f"Model {number + 1} of {settings.members}")
    folder = work / f"member-{number}"
    folder.mkdir(exist_ok=True)
    return folder


def _logs(logs: Path | None, number: int, settings: TrainSettings) -> Path | None:
    return logs if logs is None or settings.members == 1 else logs / f"member-{number}"


def _classes(dataset: Dataset, parts: Split) -> dict[str, list[str]]:
    """The labels to learn, from the training part alone; a task needs two.

    Raises:
        DatasetError: No task has two labels.
    """
    training = subset(dataset, parts.names["train"])
    classes = {task: training.classes(task) for task in TASKS}
    classes = {task: labels for task, labels in classes.items() if len(labels) >= 2}
    if not classes:
        raise DatasetError(
            f"{dataset.root} has no task with two different labels among its "
            f"{len(training)} training pictures; nothing can be learned from it."
        )
    return classes


def _load_start(
    settings: TrainSettings, reporter: Reporter
) -> tuple[dict[str, Tensor] | None, TrainSettings]:
    """The backbone's weights to start from, None from scratch; and the settings resolved."""
    if settings.pretrained == "none":
        return None, settings.for_scratch()
    backbone = create_backbone(settings.backbone)
    file = settings.pretrained_file()
    if file is not None:
        load_weights_file(backbone, file)
    else:
        reason = load_hub_weights(backbone, settings.backbone)
        if reason is not None:
            reporter.message(reason)
            return None, settings.for_scratch()
    return backbone.state_dict(), settings.for_pretrained()


def _load_part(
    dataset: Dataset,
    names: Sequence[str],
    classes: dict[str, list[str]],
    part: str,
    settings: TrainSettings,
    work: Path,
    reporter: Reporter,
) -> LabelledPictures:
    """Decode one part; pictures that cannot be read are said and left out.

    Raises:
        DatasetError: No picture of the training part can be read.
    """
    records = subset(dataset, names).records
    kept = part == "train"
    size = settings.cached_size if kept else settings.input_size
    rule = settings.cached_rule() if kept else settings.resize
    pictures = prepare_pictures(
        [dataset.path(record) for record in records],
        size,
        rule,
        work / f"{part}.pixels",
        reporter.preparing,
    )
    for index, fault in pictures.unusable.items():
        reporter.message(f"Left out {records[index].file_name}: {fault}")
    usable = [i for i in range(len(records)) if i not in pictures.unusable]
    if part == "train" and len(usable) < 2:
        raise DatasetError(f"{dataset.root} has fewer than two readable training pictures.")
    if len(usable) < len(records):
        pictures = Pictures(pictures.pixels[usable], {})
    chosen = [records[i] for i in usable]
    return LabelledPictures(pictures, _label_rows(chosen, classes), tuple(chosen))


def _label_rows(records: Sequence[Record], classes: dict[str, list[str]]) -> Tensor:
    """Class indices [N, tasks]; -1 where unknown or not among the classes."""
    columns = [TASKS.index(task) for task in classes]
    rows = label_indices(records, {task: classes.get(task, []) for task in TASKS})
    return torch.tensor(rows, dtype=torch.int64).view(len(records), len(TASKS))[:, columns]
