"""Experiment folders with answers that were made up, so that the truth is known."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from porcelain.vocabulary import default_taxonomy
from training.experiment.records import (
    Arm,
    Experiment,
    Picture,
    Unit,
    UnitKey,
    write_experiment,
    write_unit,
)
from training.experiment.statistics.answers import TaskAnswers
from training.experiment.statistics.simulation import World, simulate

REAL = Arm(kind="real")
MIX5 = Arm(kind="mix", ratio=5)
MIX = Arm(kind="mix", ratio=10)
COPIES = Arm(kind="oversample", ratio=10)
ROUTED = Arm(kind="routed", ratio=None)


def made_up(
    worlds: Mapping[str, World], arms: Sequence[Arm], seeds: int, folds: int = 3, seed: int = 0
) -> dict[str, TaskAnswers]:
    """Answers per task, of the arms in order."""
    rng = np.random.default_rng(seed)
    names = tuple(arm.name for arm in arms)
    return {
        task: simulate(replace(world, arms=names), seeds, folds, rng, task)
        for task, world in worlds.items()
    }


def write_folder(
    root: Path,
    answers: Mapping[str, TaskAnswers],
    arms: Sequence[Arm],
    *,
    seeds: int,
    folds: int,
    data: str = "photographs",
    skip: Collection[UnitKey] = (),
    fixed: bool = False,
) -> Experiment:
    """Write an experiment whose models gave these answers; units of `skip` are not done."""
    names = sorted({name for found in answers.values() for name in found.file_names})
    labels: dict[str, dict[str, str | None]] = {name: {} for name in names}
    for task, found in answers.items():
        for name in names:
            labels[name][task] = None
        for name, truth in zip(found.file_names, found.truth, strict=True):
            labels[name][task] = found.labels[truth]
    experiment = Experiment(
        created_by="0.1.0",
        data=data,
        sources={"synthetic": "synthetic"},
        digests={"data": "0" * 64},
        seeds=list(range(seeds)),
        folds=folds,
        arms=list(arms),
        tasks=list(answers),
        labels={task: list(found.labels) for task, found in answers.items()},
        training={"backbone": "tf_mobilenetv3_small_075"},
        design={"fixed_splits": fixed},
        pictures=[
            Picture(file_name=name, object_id=name, labels=labels[name], tested=True)
            for name in names
        ],
        taxonomy=default_taxonomy(),
    )
    write_experiment(root, experiment)
    for seed in range(seeds):
        for fold in range(folds):
            for arm in arms:
                key = UnitKey(seed=seed, fold=fold, arm=arm)
                if key not in skip:
                    write_unit(root, _unit(key), _records(answers), _predictions(answers, key))
    return experiment


def _unit(key: UnitKey) -> Unit:
    values = {
        "key": key,
        "steps": 10,
        "best_step": 10,
        "seconds": 1.0,
        "device": "cpu",
        "real": 10,
        "added": [],
        "added_counts": {},
        "digests": {},
        "temperatures": {},
    }
    return Unit.model_validate({k: v for k, v in values.items() if k in Unit.model_fields})


def _records(answers: Mapping[str, TaskAnswers]) -> list[dict[str, object]]:
    return [
        {"task": task, "split": "test", "metric": "pictures", "value": float(len(found.truth))}
        for task, found in answers.items()
    ]


def _predictions(answers: Mapping[str, TaskAnswers], key: UnitKey) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for task, found in answers.items():
        arm = found.arms[key.arm.name]
        for i in np.flatnonzero(arm.folds[key.seed] == key.fold):
            truth = found.labels[found.truth[i]]
            predicted = found.labels[arm.predicted[key.seed, i]]
            confidence = float(arm.confidence[key.seed, i])
            common = {
                "file_name": found.file_names[i],
                "object_id": found.file_names[i],
                "task": task,
                "predicted": predicted,
                "probability_of_truth": confidence if predicted == truth else 0.0,
                "confidence": confidence,
                "probabilities": [confidence],
            }
            rows.append({**common, "split": "test", "truth": truth})
            # What must not be counted: validation, and pictures without a label.
            rows.append({**common, "split": "validation", "truth": found.labels[0]})
    return rows
