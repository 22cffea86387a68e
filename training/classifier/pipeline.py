"""From a dataset folder to a classifier bundle: every step of `porcelain classifier train`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from safetensors.torch import load_file, save

from porcelain.bundle import (
    CLASSIFIER_MODEL_FILE,
    SPLIT_FILE,
    Bundle,
    ClassifierInfo,
    TaskMetrics,
    load_bundle,
    write_manifest,
)
from porcelain.dataset import Dataset, Record, label_indices, load_dataset, subset
from porcelain.errors import BundleError, DatasetError
from porcelain.files import (
    atomic_folder,
    check_free,
    open_work_folder,
    sha256_file,
    write_bytes,
    write_json,
)
from porcelain.vocabulary import TASKS, TAXONOMY_FILE
from training.classifier.calibration import (
    abstention_threshold,
    apply_temperature,
    fit_temperature,
)
from training.classifier.evaluation.metrics import bundle_metrics, evaluate_predictions
from training.classifier.export import ServingModel, export_onnx, verify_onnx
from training.classifier.model import (
    MultiTaskClassifier,
    load_hub_weights,
    load_weights_file,
)
from training.classifier.pictures import Pictures, prepare_pictures
from training.classifier.settings import TrainSettings
from training.classifier.trainer import ClassifierTrainer, EpochRecord, LabelledPictures
from training.data.split import Split, split_or_make, write_split

WEIGHTS_FILE = "model.safetensors"
TRAINING_FILE = "training.json"
DIGESTS_FILE = "digests.json"
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Reporter:
    """What a caller hears while training goes on. Every hook may be left out."""

    message: Callable[[str], None] = lambda text: None
    preparing: Callable[[int, int], None] = lambda done, total: None
    epoch: Callable[[EpochRecord], None] = lambda record: None


def train_classifier(
    data: Path,
    out: Path,
    settings: TrainSettings,
    *,
    split: Path | None = None,
    logs: Path | None = None,
    name: str = "porcelain-classifier",
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
        overwrite: Replace what is at `out`.
        reporter: Hears of progress.

    Returns:
        The verified bundle.

    Raises:
        UserError: Arguments, dataset, split or weights do not fit.
    """
    reporter = reporter or Reporter()
    check_free(out, overwrite)
    accelerator = Accelerator(mixed_precision="bf16" if torch.cuda.is_available() else "no")
    dataset = load_dataset(data)
    parts = split_or_make(dataset, split, seed=settings.seed)
    classes = _classes(dataset, parts)
    set_seed(settings.seed)
    model = MultiTaskClassifier(
        settings.backbone, {t: len(c) for t, c in classes.items()}, dropout=settings.dropout
    )
    settings = _load_pretrained(model, settings, reporter)
    work = out.parent / f".{out.name}.training"
    identity = {
        "settings": settings.model_dump(mode="json"),
        "data": dataset.digest(),
        "split": {part: list(parts.names[part]) for part in PARTS},
    }
    if accelerator.is_main_process:
        open_work_folder(work, identity)
    accelerator.wait_for_everyone()
    with accelerator.main_process_first():
        pictures = {
            part: _load_part(dataset, parts.names[part], classes, part, settings, work, reporter)
            for part in PARTS
        }
    trainer = ClassifierTrainer(
        model, settings, pictures["train"], pictures["validation"], work, accelerator
    )
    trainer.train(reporter.epoch, logs)
    if accelerator.is_main_process:
        with atomic_folder(out, overwrite=overwrite) as folder:
            _write_bundle(folder, dataset, parts, classes, trainer, pictures, name, reporter)
        shutil.rmtree(work)
    accelerator.wait_for_everyone()
    return load_bundle(out, "classifier")


def export_again(source: Path, out: Path, *, overwrite: bool = False) -> float:
    """Make a bundle's graph anew from its trained weights.

    Args:
        source: A classifier bundle with `model.safetensors`.
        out: Where the new bundle is to appear; labels, calibration and metrics are kept.
        overwrite: Replace what is at `out`.

    Returns:
        The largest difference of any probability from torch, on random pictures.

    Raises:
        UserError: The bundle has no weights, or `out` is taken.
    """
    bundle = load_bundle(source, "classifier")
    info = bundle.classifier
    weights = source / WEIGHTS_FILE
    if not weights.is_file():
        raise BundleError(f"{source} has no {WEIGHTS_FILE}; train again to export.")
    model = MultiTaskClassifier(info.backbone, {t: len(c) for t, c in info.labels.items()})
    model.load_state_dict(load_file(weights))
    size = info.input_size
    pictures = np.random.default_rng(0).integers(0, 256, (4, size, size, 3), dtype=np.uint8)
    with atomic_folder(out, overwrite=overwrite) as folder:
        for name in bundle.manifest.files:
            if name != CLASSIFIER_MODEL_FILE:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name, folder / name)
        graph = folder / CLASSIFIER_MODEL_FILE
        export_onnx(model, info.temperatures, size, graph)
        difference = verify_onnx(graph, model, info.temperatures, pictures)
        write_manifest(
            folder,
            kind="classifier",
            name=bundle.manifest.name,
            dataset_digest=bundle.manifest.dataset_digest,
            classifier=info,
        )
    return difference


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


def _load_pretrained(
    model: MultiTaskClassifier, settings: TrainSettings, reporter: Reporter
) -> TrainSettings:
    """Fill the backbone as asked; settings come back resolved for what was found."""
    file = settings.pretrained_file()
    if file is not None:
        load_weights_file(model.backbone, file)
        return settings
    if settings.pretrained == "none":
        return settings.for_scratch()
    reason = load_hub_weights(model.backbone, settings.backbone)
    if reason is not None:
        reporter.message(reason)
        return settings.for_scratch()
    return settings


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
    size = settings.cached_size if part == "train" else settings.input_size
    pictures = prepare_pictures(
        [dataset.path(record) for record in records],
        size,
        settings.resize,
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
    columns = [TASKS.index(task) for task in classes]
    rows = label_indices(chosen, {task: classes.get(task, []) for task in TASKS})
    labels = torch.tensor(rows, dtype=torch.int64).view(len(chosen), len(TASKS))[:, columns]
    return LabelledPictures(pictures, labels, tuple(chosen))


def _write_bundle(
    folder: Path,
    dataset: Dataset,
    parts: Split,
    classes: dict[str, list[str]],
    trainer: ClassifierTrainer,
    pictures: dict[str, LabelledPictures],
    name: str,
    reporter: Reporter,
) -> None:
    settings = trainer.settings
    validation = pictures["validation"]
    temperatures, thresholds = _calibrate(trainer, validation, settings.selective_accuracy)
    graph = folder / CLASSIFIER_MODEL_FILE
    reporter.message("Exporting to ONNX")
    export_onnx(trainer.model, temperatures, settings.input_size, graph)
    difference = verify_onnx(graph, trainer.model, temperatures, _samples(pictures, settings))
    weights = {k: v.contiguous() for k, v in trainer.model.state_dict().items()}
    write_bytes(folder / WEIGHTS_FILE, save(weights))
    write_split(folder / SPLIT_FILE, parts)
    write_json(folder / DIGESTS_FILE, _digests(dataset, parts))
    write_json(
        folder / TRAINING_FILE,
        {
            "settings": settings.model_dump(mode="json"),
            "history": [vars(record) for record in trainer.progress.history],
            "best_epoch": trainer.progress.best_epoch,
            "onnx_difference": difference,
        },
    )
    if (dataset.root / TAXONOMY_FILE).is_file():
        shutil.copyfile(dataset.root / TAXONOMY_FILE, folder / TAXONOMY_FILE)
    info = ClassifierInfo(
        labels=classes,
        label_counts=_counts(pictures["train"].records, classes),
        input_size=settings.input_size,
        resize=settings.resize,
        backbone=settings.backbone,
        temperatures=temperatures,
        abstention_thresholds=thresholds,
        selective_accuracy=settings.selective_accuracy,
        activation_grid=_activation_grid(trainer.model, settings.input_size),
        metrics=_test_metrics(trainer, pictures["test"], classes, temperatures),
    )
    write_manifest(
        folder, kind="classifier", name=name, dataset_digest=dataset.digest(), classifier=info
    )


def _calibrate(
    trainer: ClassifierTrainer, validation: LabelledPictures, selective_accuracy: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Temperature and abstention threshold per task."""
    tasks = trainer.model.tasks
    if len(validation.labels) == 0:
        return dict.fromkeys(tasks, 1.0), dict.fromkeys(tasks, 0.0)
    logits = trainer.predict(validation.pictures)
    temperatures, thresholds = {}, {}
    for column, task in enumerate(tasks):
        labels = validation.labels[:, column].numpy()
        temperatures[task] = fit_temperature(logits[task], labels)
        probabilities = apply_temperature(logits[task], temperatures[task])
        thresholds[task] = abstention_threshold(probabilities, labels, selective_accuracy)
    return temperatures, thresholds


def _samples(pictures: dict[str, LabelledPictures], settings: TrainSettings) -> Any:  # noqa: ANN401
    """Up to 16 real pictures at the input size for comparing torch with ONNX Runtime."""
    for part in ("test", "validation"):
        if len(pictures[part].pictures):
            return np.array(pictures[part].pictures.pixels[:16])
    start = (settings.cached_size - settings.input_size) // 2
    window = slice(max(0, start), max(0, start) + settings.input_size)
    return np.array(pictures["train"].pictures.pixels[:16, window, window])


def _test_metrics(
    trainer: ClassifierTrainer,
    test: LabelledPictures,
    classes: dict[str, list[str]],
    temperatures: dict[str, float],
) -> dict[str, TaskMetrics]:
    if len(test.labels) == 0:
        return {}
    logits = trainer.predict(test.pictures)
    evaluations = evaluate_predictions(
        {t: test.labels[:, i].numpy() for i, t in enumerate(trainer.model.tasks)},
        {t: apply_temperature(logits[t], temperatures[t]) for t in trainer.model.tasks},
        classes,
        [record.object_id or record.file_name for record in test.records],
    )
    return bundle_metrics(evaluations)


def _activation_grid(model: MultiTaskClassifier, size: int) -> tuple[int, int]:
    with torch.inference_mode():
        serving = ServingModel(model.cpu().eval(), dict.fromkeys(model.tasks, 1.0))
        maps = serving(torch.zeros((1, size, size, 3), dtype=torch.uint8))[-1]
    return int(maps.shape[2]), int(maps.shape[3])


def _counts(records: Sequence[Record], classes: dict[str, list[str]]) -> dict[str, dict[str, int]]:
    return {
        task: {label: sum(r.labels[task] == label for r in records) for label in labels}
        for task, labels in classes.items()
    }


def _digests(dataset: Dataset, parts: Split) -> dict[str, list[str]]:
    return {
        part: [sha256_file(dataset.root / name) for name in parts.names[part]] for part in PARTS
    }
