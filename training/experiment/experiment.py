"""`porcelain experiment run`: prepare, train every unit of a shard, and say how far it is."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

from porcelain.errors import UserError
from training.experiment.folders import (
    SOURCES_FOLDER,
    GeneratorInputs,
    make_folders,
    roles_to_make,
)
from training.experiment.folds import SPLITS_FOLDER
from training.experiment.material import MATERIAL_FOLDER
from training.experiment.preparation import Inputs, Prepared, Reporter, prepare
from training.experiment.records import (
    EXPERIMENT_FILE,
    UNITS_FOLDER,
    UnitKey,
)
from training.experiment.runner import Outcome, choose_workers, find_devices, run_units
from training.experiment.settings import ExperimentSettings
from training.experiment.units import prerequisites

INDEX_VARIABLE: Final = "JOB_COMPLETION_INDEX"
"""Where Kubernetes tells the pod of an Indexed Job its number, from 0."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Shard:
    """The `index`-th of `count` shares, from 0."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `0/8`, or `auto/8` for the number that Kubernetes gives.

        Raises:
            UserError: Not of this form, out of range, or there is no such number.
        """
        match = re.fullmatch(r"(\d+|auto)/(\d+)", text, re.ASCII)
        if match is None:
            raise UserError(f"--shard {text!r} must be I/N with I from 0 to N - 1, such as 0/8.")
        index = match[1]
        if index == "auto":
            index = os.environ.get(INDEX_VARIABLE, "")
            if not index.isdigit():
                raise UserError(f"--shard {text} needs the variable {INDEX_VARIABLE}.")
        shard = cls(int(index), int(match[2]))
        if not shard.index < shard.count:
            raise UserError(f"--shard {text}: numbers go from 0 to {max(0, shard.count - 1)}.")
        return shard

    def take(self, items: Sequence[Item]) -> Sequence[Item]:
        """This shard's share."""
        return items[self.index :: self.count]


WHOLE: Final = Shard()
"""All of the work."""


_OWN: Final = frozenset(
    {EXPERIMENT_FILE, UNITS_FOLDER, MATERIAL_FOLDER, SOURCES_FOLDER, SPLITS_FOLDER, "report"}
)


@dataclass(frozen=True)
class Running:
    """How the work is shared out; it decides no result, save by the kind of device.

    Attributes:
        shard: This machine's share.
        workers: Processes side by side; None takes as many as cores.
        device: `auto`, `cpu`, `cuda` or `cuda:1`.
    """

    shard: Shard = WHOLE
    workers: int | None = None
    device: str = "auto"


def run_experiment(
    inputs: Inputs,
    root: Path,
    settings: ExperimentSettings,
    *,
    arms: Sequence[str] | None = None,
    generator: GeneratorInputs | None = None,
    running: Running | None = None,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> tuple[Prepared, Outcome]:
    """Compare arms by repeated cross-validation and leave their records at `root`.

    Interrupted, it goes on with the units that are missing when called again. Called with more
    seeds or arms, it adds theirs.

    Args:
        inputs: What to read.
        root: The experiment's folder.
        settings: How to compare.
        arms: What to compare; see `arms.choose_arms`.
        generator: Makes the folders of the arms that have none.
        running: How the work is shared out.
        overwrite: Remove an experiment that is at `root` first.
        reporter: Hears of progress.

    Raises:
        UserError: Inputs, settings or folders that do not fit.
    """
    running, reporter = running or Running(), reporter or Reporter()
    _check_place(inputs, root, overwrite)
    if generator is not None:
        roles = [
            role
            for role in roles_to_make(arms, generator.classifier is not None)
            if role not in inputs.folders
        ]
        made = make_folders(generator, inputs.data, root, settings, roles, reporter.sampling)
        inputs = replace(inputs, folders={**made, **inputs.folders})
    prepared = prepare(inputs, root, settings, arms, reporter)
    devices = find_devices(running.device)
    outcome = run_units(
        root,
        plan_units(prepared, running.shard),
        prepared.experiment.arms,
        workers=choose_workers(running.workers, devices),
        devices=devices,
        reporter=reporter,
    )
    return prepared, outcome


def plan_units(prepared: Prepared, shard: Shard) -> list[UnitKey]:
    """The units of this run and shard, by seed and fold; what one chooses by comes before it."""
    keys = []
    blocks = [(seed, fold) for seed in prepared.seeds for fold in range(prepared.experiment.folds)]
    for seed, fold in shard.take(blocks):
        for arm in prepared.arms:
            key = UnitKey(seed=seed, fold=fold, arm=arm)
            wanted = [*prerequisites(key, prepared.experiment.arms), key]
            keys += [item for item in wanted if item not in keys]
    return keys


def _check_place(inputs: Inputs, root: Path, overwrite: bool) -> None:
    """Refuse a folder that holds something else, and make room where that is asked for."""
    if root.is_file():
        raise UserError(f"--out {root} is a file, where a folder is to be written.")
    sources = [inputs.data, *map(Path, inputs.folders.values())]
    if any(source.resolve() == root.resolve() for source in sources):
        raise UserError(f"--out {root} is a folder that is read; choose another one.")
    if not root.is_dir():
        return
    foreign = sorted(path.name for path in root.iterdir() if path.name not in _OWN)
    if foreign and not (root / EXPERIMENT_FILE).is_file():
        raise UserError(
            f"--out {root} holds {foreign[0]} and no experiment; choose another folder."
        )
    if overwrite:
        for name in _OWN:
            path = root / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
