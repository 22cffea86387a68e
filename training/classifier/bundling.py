"""What a trained classifier's bundle holds: calibration, graph, weights, metrics, provenance."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.torch import load_file, save
from torch import Tensor

from porcelain.bundle import (
    CLASSIFIER_MODEL_FILE,
    HELD_OUT_MODEL_FILE,
    SPLIT_FILE,
    ClassifierInfo,
    RenderedPictures,
    TaskMetrics,
    load_bundle,
    write_manifest,
)
from porcelain.dataset import Dataset, Record
from porcelain.errors import BundleError
from porcelain.files import atomic_folder, check_free, write_bytes, write_json
from porcelain.label_prior import KnownFacts
from porcelain.occlusion import GRID
from porcelain.vocabulary import TAXONOMY_FILE
from training.classifier.calibration import (
    CONFIDENCE,
    AbstentionThreshold,
    abstention_threshold,
    apply_temperature,
    fit_temperature,
)
from training.classifier.doubt import conformity, none_of_these, write_domains
from training.classifier.evaluation.metrics import bundle_metrics, evaluate_predictions
from training.classifier.export import export_onnx, verify_onnx
from training.classifier.features import extract_features
from training.classifier.known_facts import fit_known_facts
from training.classifier.model import MultiTaskClassifier, backbones_of
from training.classifier.records import LabelledPictures, one_per_object
from training.classifier.rendered import RenderedPool
from training.classifier.settings import TrainSettings
from training.classifier.similar import SimilarKept, write_index
from training.classifier.trained import Trained
from training.data.digests import write_digests
from training.data.split import Split, write_split

WEIGHTS_FILE = "model.safetensors"
TRAINING_FILE = "training.json"


@dataclass(frozen=True)
class Fitted:
    """A trained model with everything it was trained from.

    Attributes:
        dataset: The whole dataset.
        split: Its parts.
        classes: Labels per task in index order.
        trained: The model with its final weights.
        pictures: Prepared pictures per part.
        initial: The weights that each member began with.
        rendered: What members drew rendered vessels from; None where all learned from photographs
            alone.
    """

    dataset: Dataset
    split: Split
    classes: dict[str, list[str]]
    trained: Trained
    pictures: dict[str, LabelledPictures]
    initial: tuple[dict[str, Tensor], ...]
    rendered: RenderedPool | None = None


def write_classifier(
    folder: Path,
    fitted: Fitted,
    name: str,
    final: Trained | None = None,
    similar: SimilarKept = "names",
) -> str:
    """Calibrate, export, verify and measure a trained model, and write its bundle's files.

    Args:
        folder: Where to write.
        fitted: The model that did not learn from validation and test pictures.
        name: The model's name.
        final: A model of the same recipe that learned from every picture. It is the one served,
            with the calibration and metrics of the first, which is kept beside it.
        similar: What the bundle keeps of the pictures that the served model learned from.

    Returns:
        What it keeps of them, in words.

    Raises:
        PorcelainError: A graph does not answer as torch does.
    """
    dataset, parts, classes = fitted.dataset, fitted.split, fitted.classes
    trained, pictures = fitted.trained, fitted.pictures
    settings = trained.settings
    validation = pictures["validation"]
    temperatures = _temperatures(trained, validation)
    thresholds = _thresholds(trained, validation, temperatures)
    differences = _write_graphs(folder, fitted, final, temperatures)
    served = (final or trained).model
    weights = {k: v.contiguous() for k, v in served.state_dict().items()}
    write_bytes(folder / WEIGHTS_FILE, save(weights))
    write_split(folder / SPLIT_FILE, parts)
    write_digests(folder, dataset.root, parts.names)
    write_json(
        folder / TRAINING_FILE,
        {
            "settings": settings.model_dump(mode="json"),
            "members": [
                {
                    "history": [vars(record) for record in trainer.progress.history],
                    "best_epoch": trainer.progress.best_epoch,
                }
                for trainer in trained.trainers
            ],
            "rendered": _rendered(fitted, trained, final),
            "refit_epochs": [len(one.progress.history) for one in final.trainers] if final else [],
            "onnx_difference": differences,
        },
    )
    if (dataset.root / TAXONOMY_FILE).is_file():
        shutil.copyfile(dataset.root / TAXONOMY_FILE, folder / TAXONOMY_FILE)
    features = extract_features(trained, pictures, final)
    kept = write_index(folder, features, dataset, similar)
    info = ClassifierInfo(
        labels=classes,
        label_counts=_counts(pictures["train"].records, classes),
        input_size=settings.input_size,
        resize=settings.resize,
        backbone=settings.backbone,
        temperatures=temperatures,
        abstention_thresholds={task: found.threshold for task, found in thresholds.items()},
        selective_accuracy=settings.selective_accuracy,
        selective_confidence=CONFIDENCE,
        abstention_caveats={
            task: found.caveat for task, found in thresholds.items() if found.caveat is not None
        },
        none_of_these_thresholds=none_of_these(trained, validation, temperatures),
        activation_grid=GRID,
        metrics=_test_metrics(trained, pictures["test"], classes, temperatures),
        in_domain_threshold=write_domains(folder, features, refitted=final is not None),
        conformity=conformity(trained, validation, classes, temperatures),
        known_facts=_known_facts(fitted, final, temperatures),
        rendered=_seen(fitted.rendered, final or trained),
    )
    write_manifest(
        folder, kind="classifier", name=name, dataset_digest=dataset.digest(), classifier=info
    )
    return kept


def _write_graphs(
    folder: Path,
    fitted: Fitted,
    final: Trained | None,
    temperatures: dict[str, float],
) -> dict[str, float]:
    """Export what is served and what was measured; how far each answers from torch, by file."""
    trained, settings = fitted.trained, fitted.trained.settings
    graphs = {CLASSIFIER_MODEL_FILE: final or trained}
    if final is not None:
        graphs[HELD_OUT_MODEL_FILE] = trained
    samples = _samples(fitted.pictures, settings)
    differences = {}
    for file, source in graphs.items():
        (folder / file).parent.mkdir(exist_ok=True)
        export_onnx(source.model, temperatures, settings.input_size, folder / file)
        differences[file] = verify_onnx(folder / file, source.model, temperatures, samples)
    return differences


def _temperatures(trained: Trained, validation: LabelledPictures) -> dict[str, float]:
    """Softmax temperature per task."""
    logits = trained.predict(validation.pictures)
    return {
        task: fit_temperature(logits[task], validation.labels[:, column].numpy())
        for column, task in enumerate(trained.tasks)
    }


def _thresholds(
    trained: Trained, validation: LabelledPictures, temperatures: dict[str, float]
) -> dict[str, AbstentionThreshold]:
    """Abstention threshold per task, from one picture of each object."""
    logits = trained.predict(validation.pictures)
    chosen = one_per_object(validation.records)
    return {
        task: abstention_threshold(
            apply_temperature(logits[task][chosen], temperatures[task]),
            validation.labels[chosen, column].numpy(),
            trained.settings.selective_accuracy,
        )
        for column, task in enumerate(trained.tasks)
    }


def _known_facts(
    fitted: Fitted, final: Trained | None, temperatures: dict[str, float]
) -> KnownFacts | None:
    """What the bundle needs to use facts about a piece."""
    trained, validation = fitted.trained, fitted.pictures["validation"]
    logits = trained.predict(validation.pictures)
    chosen = one_per_object(validation.records)
    every = [record for part in fitted.pictures.values() for record in part.records]
    return fit_known_facts(
        fitted.classes,
        fitted.pictures["train"].records,
        None if final is None else every,
        {t: apply_temperature(logits[t][chosen], temperatures[t]) for t in trained.tasks},
        {t: validation.labels[chosen, i].numpy() for i, t in enumerate(trained.tasks)},
        trained.settings.selective_accuracy,
    )


def _seen(pool: RenderedPool | None, trained: Trained) -> RenderedPictures | None:
    """What the manifest says of the rendered vessels that a model has learned from."""
    if pool is None:
        return None
    photographs = [len(one.train_data.pictures.pixels) for one in trained.trainers]
    seen = [len(one.train_data.labels) for one in trained.trainers]
    return RenderedPictures(
        share=pool.share,
        left_blank=list(pool.blank),
        models=[total - own for total, own in zip(seen, photographs, strict=True)],
    )


def _rendered(fitted: Fitted, trained: Trained, final: Trained | None) -> dict[str, Any] | None:
    """What `training.json` says of them: where they came from, and how many each model has seen."""
    pool = fitted.rendered
    measured, served = (
        None if one is None else _seen(pool, one) for one in (trained, final or trained)
    )
    if pool is None or measured is None or served is None:
        return None
    return {
        **pool.identity(),
        "left_blank": served.left_blank,
        "measured_models": measured.models,
        "served_models": served.models,
    }


def _samples(
    pictures: dict[str, LabelledPictures], settings: TrainSettings
) -> npt.NDArray[np.uint8]:
    """Up to 16 real pictures at the input size for comparing torch with ONNX Runtime."""
    for part in ("test", "validation"):
        if len(pictures[part].pictures):
            return np.array(pictures[part].pictures.pixels[:16])
    start = (settings.cached_size - settings.input_size) // 2
    window = slice(max(0, start), max(0, start) + settings.input_size)
    return np.array(pictures["train"].pictures.pixels[:16, window, window])


def _test_metrics(
    trained: Trained,
    test: LabelledPictures,
    classes: dict[str, list[str]],
    temperatures: dict[str, float],
) -> dict[str, TaskMetrics]:
    if len(test.labels) == 0:
        return {}
    logits = trained.predict(test.pictures)
    evaluations = evaluate_predictions(
        {t: test.labels[:, i].numpy() for i, t in enumerate(trained.tasks)},
        {t: apply_temperature(logits[t], temperatures[t]) for t in trained.tasks},
        classes,
        [record.object_id or record.file_name for record in test.records],
    )
    return bundle_metrics(evaluations)


def _counts(records: Sequence[Record], classes: dict[str, list[str]]) -> dict[str, dict[str, int]]:
    return {
        task: {label: sum(r.labels[task] == label for r in records) for label in labels}
        for task, labels in classes.items()
    }


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The state dict of a bundle's served model.

    Raises:
        BundleError: It has none.
    """
    file = folder / WEIGHTS_FILE
    if not file.is_file():
        raise BundleError(f"{folder} has no {WEIGHTS_FILE}; train the classifier again.")
    return load_file(file)


def export_again(source: Path, out: Path, *, overwrite: bool = False) -> float:
    """Make a bundle's served graph anew from its trained weights.

    Args:
        source: A classifier bundle with `model.safetensors`.
        out: Where the new bundle is to appear; labels, calibration and metrics are kept.
        overwrite: Replace what is at `out`.

    Returns:
        The largest difference of any probability from torch, on random pictures.

    Raises:
        UserError: The bundle has no weights, or `out` is taken.
    """
    check_free(out, overwrite, (source,))
    bundle = load_bundle(source, "classifier")
    info = bundle.classifier
    state = read_weights(source)
    classes = {task: len(labels) for task, labels in info.labels.items()}
    model = MultiTaskClassifier(info.backbone, classes, members=len(backbones_of(state)))
    model.load_state_dict(state)
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
            classifier=info.model_copy(update={"activation_grid": GRID}),
        )
    return difference
