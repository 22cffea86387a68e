"""One unit: one arm of one seed and fold, from its initial weights to its records."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file

from porcelain.dataset import Record
from training.classifier.model import MultiTaskClassifier
from training.experiment.additions import pool_for
from training.experiment.arms import REAL, candidates, recipe_of
from training.experiment.folds import Parts
from training.experiment.material import Material
from training.experiment.measuring import (
    Answers,
    calibrate,
    choose_ratios,
    fit_temperatures,
    prediction_rows,
    record_rows,
)
from training.experiment.paired import PairedTrainer, Pool, Purpose, Randomness, Rows, Schedule
from training.experiment.records import (
    PREDICTIONS_FILE,
    RECORDS_FILE,
    Arm,
    Subset,
    Unit,
    UnitKey,
    read_unit,
    unit_folder,
    write_unit,
)

OnStep = Callable[[int, int], None]


def prerequisites(key: UnitKey, arms: Sequence[Arm]) -> list[UnitKey]:
    """The units whose validation records a unit chooses by."""
    if not recipe_of(key.arm.kind).chosen:
        return []
    return [key.model_copy(update={"arm": arm}) for arm in candidates(arms)]


def run_unit(
    material: Material, key: UnitKey, device: torch.device, on_step: OnStep | None = None
) -> Unit:
    """Train, measure and write one unit; one that is done stays as it is.

    Args:
        material: The experiment.
        key: Which unit.
        device: Where to train.
        on_step: Called with steps done and in all.

    Raises:
        UserError: There are not enough pictures to add.
    """
    done = read_unit(material.root, key)
    if done is not None:
        return done
    used_for = None
    if recipe_of(key.arm.kind).chosen:
        used_for = _choose(material, key)
        same = _same_arm(used_for, candidates(material.experiment.arms))
        if same is not None:
            return _repeat(material, key, key.model_copy(update={"arm": same}), used_for)
    return _train(material, key, device, used_for, on_step)


def initial_model(material: Material, randomness: Randomness) -> MultiTaskClassifier:
    """The model that every arm of a seed and fold begins with."""
    experiment, training = material.experiment, material.training
    # The generator of all of torch is what modules draw their weights from.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(randomness.number(Purpose.WEIGHTS))
        model = MultiTaskClassifier(
            training.backbone,
            {task: len(experiment.labels[task]) for task in experiment.tasks},
            dropout=training.dropout,
        )
    if material.weights_file is not None:
        model.backbone.load_state_dict(load_file(material.weights_file))
    return model


def weights_digest(model: MultiTaskClassifier) -> str:
    """SHA-256 of every weight."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class TrainingInputs:
    """What one unit learns from.

    Attributes:
        parts: Of the fold.
        real: The real training pictures.
        added: The added ones.
        records: Their rows.
        schedule: What each step sees.
    """

    parts: Parts
    real: Pool
    added: Pool
    records: list[Record]
    schedule: Schedule


def training_inputs(
    material: Material, key: UnitKey, used_for: Mapping[str, float] | None = None
) -> TrainingInputs:
    """Put together what a unit learns from.

    Args:
        material: The experiment.
        key: Which unit.
        used_for: Ratio per task, for an arm whose ratios are chosen.
    """
    randomness = Randomness(key.seed, key.fold)
    parts = material.parts(key.seed, key.fold)
    added, records = pool_for(material, key.arm, parts, randomness, used_for)
    rows = np.asarray(parts.train, dtype=np.int64)
    first = recipe_of(key.arm.kind).first
    schedule = Schedule(
        real=len(rows),
        added=len(added.rows),
        batch_size=material.training.batch_size,
        epochs=material.training.epochs,
        randomness=randomness,
        first=float(material.experiment.design["pretraining"]) if first else 0.0,
    )
    real = Pool(material.training_pixels, rows, material.labels[torch.from_numpy(rows)])
    return TrainingInputs(parts, real, added, records, schedule)


def _train(
    material: Material,
    key: UnitKey,
    device: torch.device,
    used_for: Mapping[str, float] | None,
    on_step: OnStep | None,
) -> Unit:
    started = time.perf_counter()
    inputs = training_inputs(material, key, used_for)
    model = initial_model(material, inputs.schedule.randomness)
    digests = {"initial": weights_digest(model), "stream": inputs.schedule.digest()}
    trainer = PairedTrainer(
        model,
        material.training,
        inputs.schedule,
        inputs.real,
        inputs.added,
        device=device,
        frozen_blocks=int(material.experiment.design["frozen_blocks"]),
    )
    trainer.train(on_step)
    answers, temperatures = _answer(material, trainer, inputs.parts)
    unit = Unit(
        key=key,
        steps=inputs.schedule.steps,
        seconds=time.perf_counter() - started,
        device=str(device),
        real=len(inputs.parts.train),
        added=[record.file_name for record in inputs.records],
        added_counts=_counts(inputs, material.experiment.tasks),
        used_for=None if used_for is None else dict(used_for),
        digests=digests,
        temperatures=temperatures,
    )
    write_unit(
        material.root,
        unit,
        [row for part in answers for row in record_rows(part, material.experiment.tasks)],
        [row for part in answers for row in prediction_rows(part, material.experiment)],
    )
    return unit


def _answer(
    material: Material, trainer: PairedTrainer, parts: Parts
) -> tuple[list[Answers], dict[str, float]]:
    """Calibrated answers to validation and test pictures, and the temperatures."""
    logits, rows = {}, {}
    split: Subset
    for split, positions in (("validation", parts.validation), ("test", parts.test)):
        rows[split] = np.asarray(positions, dtype=np.int64)
        logits[split] = trainer.predict(material.evaluation_pixels, rows[split])
    labels: Rows = material.labels.numpy()
    temperatures = fit_temperatures(logits["validation"], labels[rows["validation"]])
    return [
        Answers(part, rows[part].tolist(), labels[rows[part]], calibrate(values, temperatures))
        for part, values in logits.items()
    ], temperatures


def _choose(material: Material, key: UnitKey) -> dict[str, float]:
    """Ratio per task, by the validation records of this seed and fold."""
    predictions = {
        needed.arm.ratio or 0.0: pq.read_table(
            unit_folder(material.root, needed) / PREDICTIONS_FILE
        )
        for needed in prerequisites(key, material.experiment.arms)
    }
    experiment = material.experiment
    return choose_ratios(predictions, experiment.tasks, experiment.design["routing_margin"])


def _same_arm(used_for: Mapping[str, float], arms: Sequence[Arm]) -> Arm | None:
    """The arm whose training is the same, where every task chose one ratio."""
    ratios = set(used_for.values())
    if ratios == {0.0}:
        return Arm(kind=REAL)
    return next((arm for arm in arms if ratios == {arm.ratio}), None)


def _repeat(material: Material, key: UnitKey, same: UnitKey, used_for: Mapping[str, float]) -> Unit:
    """Write another unit's results under this key: training would repeat them."""
    done = read_unit(material.root, same)
    if done is None:
        raise RuntimeError(f"{same.id} is to be done before {key.id}.")
    update = {"key": key, "used_for": dict(used_for), "same_as": same.id, "seconds": 0.0}
    unit = done.model_copy(update=update)
    folder = unit_folder(material.root, same)
    own = {"seed", "fold", "arm", "ratio"}
    records, predictions = (
        [
            {name: value for name, value in row.items() if name not in own}
            for row in pq.read_table(folder / file).to_pylist()
        ]
        for file in (RECORDS_FILE, PREDICTIONS_FILE)
    )
    write_unit(material.root, unit, records, predictions)
    return unit


def _counts(inputs: TrainingInputs, tasks: Sequence[str]) -> dict[str, dict[str, int]]:
    """Added pictures per task and label, where they count for the task."""
    counts: dict[str, dict[str, int]] = {task: {} for task in tasks}
    for record, row in zip(inputs.records, inputs.added.labels.tolist(), strict=True):
        for task, index in zip(tasks, row, strict=True):
            label = record.labels[task]
            if index >= 0 and label is not None:
                counts[task][label] = counts[task].get(label, 0) + 1
    return counts
