"""One answer per object from the rows of its pictures, beside the table that has a row for each."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from batch.inputs import Source, dataset_rows
from batch.rows import Row, answer_columns, printable, table_of, task_cells
from porcelain.bundle import Bundle, ClassifierInfo
from porcelain.errors import UserError
from porcelain.files import replace_when_written
from porcelain.predictor import Outputs, interpret
from porcelain.views import Pool

OBJECT_COLUMN: Final = "object_id"
_TOGETHER: Final = 1000  # objects in one table


@dataclass
class _Views:
    """The pictures of one object so far."""

    paths: list[str] = field(default_factory=list)
    pools: dict[str, Pool] = field(default_factory=dict)
    used: int = 0


def objects_file(out: Path) -> Path:
    """Where the objects of a result are: beside it."""
    return out.with_suffix(".objects.parquet")


def check_source(source: Source) -> None:
    """Refuse inputs that do not say which picture shows what, before there is work to lose.

    Raises:
        UserError: No dataset folder, or one without the column `object_id`.
    """
    if source.table is None:
        raise UserError(
            "--by-object needs a dataset folder, whose metadata.csv names objects in the column "
            f"{OBJECT_COLUMN}."
        )
    row = next(dataset_rows(source.table), None)
    if row is not None and OBJECT_COLUMN not in row:
        raise UserError(f"{source.place} has no column {OBJECT_COLUMN}; leave --by-object out.")


def objects_schema(bundle: Bundle) -> pa.Schema:
    """Columns of a row per object.

    `object` is its `object_id`, or the file name of a picture that has none. `paths` are all its
    pictures, `pictures` how many of them the answer rests on; with none, the answer is null. Per
    task as in the table of pictures. Then the model.
    """
    fields = [
        ("object", pa.string()),
        ("pictures", pa.int32()),
        ("paths", pa.list_(pa.string())),
        *answer_columns(bundle.classifier.labels, sets=False),
        *((f"model_{name}", pa.string()) for name in ("name", "version", "digest")),
    ]
    return pa.schema(fields)


def write_objects(
    out: Path, tables: Iterable[pa.Table], source: Source, bundle: Bundle, top_k: int
) -> int:
    """Write a row per object, in the order in which `metadata.csv` first names them.

    Args:
        out: A Parquet file; it appears when it is whole.
        tables: The rows of all pictures in order, with every candidate of every task.
        source: The dataset folder that they come from.
        bundle: The model that answered.
        top_k: Candidates kept per task.

    Returns:
        How many objects there are.

    Raises:
        UserError: `metadata.csv` has changed meanwhile.
    """
    objects = _gather(tables, source.table or Path(), bundle.classifier)
    schema = objects_schema(bundle)
    rows = [_row(name, views, bundle.classifier, top_k) for name, views in objects.items()]
    with replace_when_written(out) as file, pq.ParquetWriter(file, schema) as writer:
        for start in range(0, len(rows), _TOGETHER):
            writer.write_table(table_of(rows[start : start + _TOGETHER], bundle, schema))
    return len(rows)


def _gather(tables: Iterable[pa.Table], metadata: Path, info: ClassifierInfo) -> dict[str, _Views]:
    objects: dict[str, _Views] = {}
    root, named = metadata.parent, dataset_rows(metadata)
    for table in tables:
        for row in table.to_pylist():
            name, path = _named(next(named, None), root)
            if printable(path) != row["path"]:
                raise UserError(f"{root} has changed since the work began; start anew.")
            views = objects.setdefault(name, _Views())
            views.paths.append(row["path"])
            if row["error_kind"] is None:
                views.used += 1
                for task, labels in info.labels.items():
                    views.pools.setdefault(task, Pool()).add(_probabilities(row, task, labels))
    return objects


def _named(row: Mapping[str, str | None] | None, root: Path) -> tuple[str, str]:
    """The object and the location of one line of `metadata.csv`."""
    if row is None:
        return "", ""
    name = (row["file_name"] or "").strip()
    thing = (row.get(OBJECT_COLUMN) or "").strip()
    return thing or name, os.path.join(root, name)  # noqa: PTH118 - as the locations are made


def _probabilities(row: Row, task: str, labels: list[str]) -> np.ndarray:
    known = {one["label"]: one["probability"] for one in row[f"{task}_top"]}
    return np.array([[known[label] for label in labels]], dtype=np.float32)


def _row(name: str, views: _Views, info: ClassifierInfo, top_k: int) -> Row:
    row: Row = {"object": printable(name), "pictures": views.used, "paths": views.paths}
    if views.used:
        pooled = Outputs({task: pool.result()[np.newaxis] for task, pool in views.pools.items()})
        (answers,) = interpret(info, pooled, top_k=top_k)
        row |= task_cells(answers)
    return row
