"""What an experiment leaves on disk, and how it is written and read: the contract with reports.

```
experiment.json                       what was compared on which pictures (`Experiment`)
units/<unit>/unit.json                one training: what it was given, what it took (`Unit`)
units/<unit>/records.parquet          its measures, long form (`RECORDS`)
units/<unit>/predictions.parquet      its answers to validation and test pictures (`PREDICTIONS`)
```
A unit's folder is written beside its place and renamed, so that one that exists is whole; any
number of processes and machines can write into one experiment.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from porcelain.errors import DatasetError, UserError
from porcelain.files import write_text
from porcelain.vocabulary import Taxonomy

EXPERIMENT_FILE: Final = "experiment.json"
UNITS_FOLDER: Final = "units"
UNIT_FILE: Final = "unit.json"
RECORDS_FILE: Final = "records.parquet"
PREDICTIONS_FILE: Final = "predictions.parquet"

Subset = Literal["validation", "test"]

_Model = TypeVar("_Model", bound=BaseModel)

_KEY: Final = [
    pa.field("seed", pa.int32()),
    pa.field("fold", pa.int16()),
    pa.field("arm", pa.string()),
    pa.field("ratio", pa.float64()),
]

RECORDS: Final = pa.schema(
    [
        *_KEY,
        pa.field("task", pa.string()),
        pa.field("split", pa.string()),
        pa.field("metric", pa.string()),
        pa.field("value", pa.float64()),
    ]
)
"""One measure of one unit. `ratio` is the synthetic share in percent, 0 for real pictures alone,
NaN where it was chosen per task; `split` is `validation` or `test`."""

PREDICTIONS: Final = pa.schema(
    [
        *_KEY,
        pa.field("split", pa.string()),
        pa.field("file_name", pa.string()),
        pa.field("object_id", pa.string()),
        pa.field("task", pa.string()),
        pa.field("truth", pa.string()),
        pa.field("predicted", pa.string()),
        pa.field("probability_of_truth", pa.float64()),
        pa.field("confidence", pa.float64()),
        pa.field("probabilities", pa.list_(pa.float32())),
    ]
)
"""One answer to one task of one real picture. `truth` and `probability_of_truth` are null where
the label is unknown; `probabilities` are calibrated on validation and in the order of
`Experiment.labels`."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Arm(_Frozen):
    """One way to train.

    Attributes:
        kind: `real`, `mix`, `oversample`, `untuned`, `unfiltered`, `routed`, …
        ratio: Added pictures in percent of the training part; 0 where none are added, None where
            it is chosen per task on validation.
    """

    kind: str
    ratio: float | None = 0.0

    @property
    def name(self) -> str:
        """Such as `real`, `mix-90-10` or `routed`."""
        if not self.ratio:
            return self.kind
        return f"{self.kind}-{100 - self.ratio:g}-{self.ratio:g}"


class Picture(_Frozen):
    """One real picture.

    Attributes:
        file_name: In the dataset folder.
        object_id: Its own, or else the name of the group that no split tears apart.
        labels: Per task; None where unknown.
        tested: Whether it is tested, in one fold of every seed. If not, it is trained on always:
            the generator or its filter has seen it, or its object.
    """

    file_name: str
    object_id: str
    labels: dict[str, str | None]
    tested: bool


class Experiment(_Frozen):
    """The content of `experiment.json`.

    Attributes:
        created_by: Version of the code.
        data: The dataset folder as it was named.
        sources: The folders that pictures were added from, by role (`synthetic`, `untuned`, …),
            as they were named.
        digests: SHA-256 of the dataset (`data`) and of each source.
        seeds: Repetitions; each has its own folds, weights and order.
        folds: Folds of the cross-validation.
        arms: What is compared.
        tasks: The tasks that are answered, in order.
        labels: Per task, in the index order of probabilities.
        training: The classifier's settings, resolved.
        design: Everything else that decides the result.
        pictures: Every real picture, in the dataset's order.
        taxonomy: The labels' names for people.
        notes: What a reader of the results must know.
    """

    schema_version: Literal[1] = 1
    created_by: str
    data: str
    sources: dict[str, str]
    digests: dict[str, str]
    seeds: list[int]
    folds: int
    arms: list[Arm]
    tasks: list[str]
    labels: dict[str, list[str]]
    training: dict[str, Any]
    design: dict[str, Any]
    pictures: list[Picture]
    taxonomy: Taxonomy
    notes: list[str] = []


class UnitKey(_Frozen):
    """One training of one arm."""

    seed: int
    fold: int
    arm: Arm

    @property
    def id(self) -> str:
        """The name of its folder, such as `seed-000.fold-1.mix-90-10`."""
        return f"seed-{self.seed:03}.fold-{self.fold}.{self.arm.name}"


class Unit(_Frozen):
    """The content of `unit.json`.

    Attributes:
        key: Which unit it is.
        steps: Optimiser steps, the same for every arm of a seed and fold.
        seconds: Training and measuring.
        device: Where it was trained.
        real: Real training pictures.
        added: File names of added pictures, in their own folder.
        added_counts: Added pictures per task and label.
        used_for: Per task, the ratio whose added pictures counted for it; 0 where none did. Only
            where it was chosen.
        same_as: The unit whose results these are, where training would have been the same.
        digests: SHA-256 of the `initial` weights and of the `stream` of real pictures: equal for
            all arms of a seed and fold that learn from real pictures at every step.
        temperatures: Per task, fitted on validation.
    """

    key: UnitKey
    steps: int
    seconds: float
    device: str
    real: int
    added: list[str]
    added_counts: dict[str, dict[str, int]]
    used_for: dict[str, float] | None = None
    same_as: str | None = None
    digests: dict[str, str]
    temperatures: dict[str, float]


@dataclass(frozen=True)
class Results:
    """A whole experiment, as far as it has come.

    Attributes:
        experiment: What was compared.
        units: Those done, by seed, fold and the order of arms.
        missing: Those not done.
        records: All measures (`RECORDS`).
        predictions: All answers (`PREDICTIONS`).
    """

    experiment: Experiment
    units: tuple[Unit, ...]
    missing: tuple[UnitKey, ...]
    records: pa.Table
    predictions: pa.Table


def unit_keys(experiment: Experiment) -> list[UnitKey]:
    """Every unit of an experiment, in the order in which they are best done."""
    return [
        UnitKey(seed=seed, fold=fold, arm=arm)
        for seed in experiment.seeds
        for fold in range(experiment.folds)
        for arm in experiment.arms
    ]


def unit_folder(root: Path, key: UnitKey) -> Path:
    """Where a unit's results are, or will be."""
    return root / UNITS_FOLDER / key.id


def write_experiment(root: Path, experiment: Experiment) -> None:
    """Write `experiment.json` atomically."""
    write_text(root / EXPERIMENT_FILE, experiment.model_dump_json(indent=1) + "\n")


def read_experiment(root: Path) -> Experiment:
    """Read `experiment.json`.

    Raises:
        DatasetError: It is missing, or not as this version writes it.
    """
    path = root / EXPERIMENT_FILE
    if not path.is_file():
        raise DatasetError(
            f"{root} is no experiment: it has no {EXPERIMENT_FILE}; make one with "
            "`porcelain experiment run`."
        )
    return _parse(Experiment, path)


def is_done(root: Path, key: UnitKey) -> bool:
    """Whether a unit's results are there."""
    return (unit_folder(root, key) / UNIT_FILE).is_file()


def read_unit(root: Path, key: UnitKey) -> Unit | None:
    """A unit's `unit.json`; None where the unit is not done."""
    path = unit_folder(root, key) / UNIT_FILE
    return _parse(Unit, path) if path.is_file() else None


def write_unit(
    root: Path,
    unit: Unit,
    records: Sequence[Mapping[str, object]],
    predictions: Sequence[Mapping[str, object]],
) -> None:
    """Leave a unit's results, whole or not at all. One that is there already stays.

    Args:
        root: The experiment's folder.
        unit: What was done.
        records: Rows of `RECORDS` without the key.
        predictions: Rows of `PREDICTIONS` without the key.
    """
    folder = unit_folder(root, unit.key)
    work = folder.with_name(f".{folder.name}.{uuid4().hex}.partial")
    work.mkdir(parents=True)
    try:
        pq.write_table(_table(unit.key, records, RECORDS), work / RECORDS_FILE)
        pq.write_table(_table(unit.key, predictions, PREDICTIONS), work / PREDICTIONS_FILE)
        write_text(work / UNIT_FILE, unit.model_dump_json(indent=1) + "\n")
        try:
            work.rename(folder)
        except OSError:
            # Another process was first; equal units have equal results.
            if not (folder / UNIT_FILE).is_file():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def read_results(root: Path, *more: Path) -> Results:
    """Read an experiment, all shards together.

    Args:
        root: The experiment's folder.
        more: Folders of further shards, where they did not share one.

    Raises:
        DatasetError: A folder is no experiment, or is damaged.
        UserError: The folders are of different experiments, or no unit is done.
    """
    experiment = read_experiment(root)
    for other in more:
        if _identity(read_experiment(other)) != _identity(experiment):
            raise UserError(f"{other} and {root} are different experiments; give one at a time.")
    units, missing = [], []
    records, predictions = [], []
    for key in unit_keys(experiment):
        found = next(((r, u) for r in (root, *more) if (u := read_unit(r, key))), None)
        if found is None:
            missing.append(key)
            continue
        folder = unit_folder(found[0], key)
        units.append(found[1])
        records.append(_read_table(folder / RECORDS_FILE, RECORDS))
        predictions.append(_read_table(folder / PREDICTIONS_FILE, PREDICTIONS))
    if not units:
        raise UserError(f"{root} has no finished unit yet; go on with `porcelain experiment run`.")
    return Results(
        experiment,
        tuple(units),
        tuple(missing),
        pa.concat_tables(records),
        pa.concat_tables(predictions),
    )


def _identity(experiment: Experiment) -> Experiment:
    """What shards have in common, wherever they found the folders."""
    return experiment.model_copy(update={"data": "", "sources": dict.fromkeys(experiment.sources)})


def _table(key: UnitKey, rows: Sequence[Mapping[str, object]], schema: pa.Schema) -> pa.Table:
    ratio = float("nan") if key.arm.ratio is None else key.arm.ratio
    own = {"seed": key.seed, "fold": key.fold, "arm": key.arm.kind, "ratio": ratio}
    return pa.Table.from_pylist([{**own, **row} for row in rows], schema=schema)


def _read_table(path: Path, schema: pa.Schema) -> pa.Table:
    try:
        return pq.read_table(path, schema=schema)
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(
            f"{path} cannot be read ({error}); delete its folder and run the experiment again."
        ) from error


def _parse(model: type[_Model], path: Path) -> _Model:
    try:
        return model.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "content"
        raise DatasetError(f"{path} is not valid: {place}: {first['msg']}") from error
