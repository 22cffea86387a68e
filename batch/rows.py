"""The result's table: one row per input, with its answers or its error."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.json

from porcelain.bundle import Bundle
from porcelain.label_prior import UnusualCombination
from porcelain.predictor import TaskPrediction

Row = dict[str, Any]

_TOP = pa.list_(pa.struct([("label", pa.string()), ("probability", pa.float32())]))


def result_schema(bundle: Bundle, known: Sequence[str] = ()) -> pa.Schema:
    """Columns of a bundle's results.

    `index` is the input's place in the listing, from 0. `in_domain` and its score, the likeness to
    the training pictures, are null where the bundle cannot say. Per task: the label, its calibrated
    probability, whether it is too unsure to count, the top candidates, and the label set, null
    unless asked for. `unusual_combination` is null or the two answers, as `task:label`, that never
    occurred together in training (`porcelain.label_prior`). Per task in `known`, where a fact was
    given: the picture's own probability of it, and whether it speaks strongly against it; null
    where the fact is blank. Where there is an error, everything but `index`, `path` and the model
    is null.
    """
    fields: list[tuple[str, pa.DataType]] = [
        ("index", pa.int64()),
        ("path", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("format", pa.string()),
        ("in_domain", pa.bool_()),
        ("in_domain_score", pa.float32()),
    ]
    fields += answer_columns(bundle.classifier.labels, sets=True)
    fields.append(("unusual_combination", pa.list_(pa.string())))
    for task in known:
        fields += [(f"{task}_model_probability", pa.float32()), (f"{task}_conflict", pa.bool_())]
    fields += [("error_kind", pa.string()), ("error", pa.string())]
    fields += [(f"model_{name}", pa.string()) for name in ("name", "version", "digest")]
    return pa.schema(fields)


def answer_columns(tasks: Iterable[str], *, sets: bool) -> list[tuple[str, pa.DataType]]:
    """The columns of every task's answer, with its label set or without."""
    fields: list[tuple[str, pa.DataType]] = []
    for task in tasks:
        fields += [
            (task, pa.string()),
            (f"{task}_probability", pa.float32()),
            (f"{task}_abstained", pa.bool_()),
            (f"{task}_none_of_these", pa.bool_()),
            (f"{task}_top", _TOP),
        ]
        if sets:
            fields.append((f"{task}_set", pa.list_(pa.string())))
    return fields


@dataclass(frozen=True)
class Likeness:
    """Whether a picture is like those of training, and the score that says so."""

    in_domain: bool
    score: float


def answer_row(
    index: int,
    location: str,
    size: tuple[int | None, int | None],
    image_format: str | None,
    answers: Mapping[str, TaskPrediction],
    likeness: Likeness | None,
    unusual: UnusualCombination | None = None,
) -> Row:
    """The row of a picture that was answered.

    Args:
        index: The input's place in the listing.
        location: Where it is.
        size: Upright width and height in pixels.
        image_format: Of the file.
        answers: By task.
        likeness: None where the bundle cannot say.
        unusual: Two answers that never occurred together; None where there are none.
    """
    row: Row = {
        "index": index,
        "path": printable(location),
        "width": size[0],
        "height": size[1],
        "format": image_format,
    }
    if likeness is not None:
        row["in_domain"] = likeness.in_domain
        row["in_domain_score"] = likeness.score
    if unusual is not None:
        row["unusual_combination"] = [f"{task}:{label}" for task, label in unusual.labels.items()]
    return row | task_cells(answers)


def task_cells(answers: Mapping[str, TaskPrediction]) -> Row:
    """The cells of every task's answer."""
    row: Row = {}
    for task, answer in answers.items():
        row[task] = answer.label
        row[f"{task}_probability"] = answer.probability
        row[f"{task}_abstained"] = answer.abstained
        row[f"{task}_none_of_these"] = answer.none_of_these
        row[f"{task}_top"] = [
            {"label": one.label, "probability": one.probability} for one in answer.top
        ]
        if answer.label_set is not None:
            row[f"{task}_set"] = list(answer.label_set)
        if answer.known:
            row[f"{task}_model_probability"] = answer.model_probability
            row[f"{task}_conflict"] = answer.conflict
    return row


def error_row(index: int, location: str, kind: str, error: str) -> Row:
    """The row of a picture that could not be used."""
    return {
        "index": index,
        "path": printable(location),
        "error_kind": kind,
        "error": printable(error),
    }


def table_of(rows: Sequence[Row], bundle: Bundle, schema: pa.Schema | None = None) -> pa.Table:
    """Rows as a table, each with the model that answered; of `result_schema` unless told."""
    manifest = bundle.manifest
    model = {
        "model_name": manifest.name,
        "model_version": manifest.version,
        "model_digest": manifest.digest(),
    }
    lines = "".join(json.dumps(row | model) + "\n" for row in rows).encode()
    # By way of JSON, because Arrow would import pandas, if that is installed, to look for its
    # types in our lists: in each process, and longer than all else that it begins with.
    return pyarrow.json.read_json(
        pa.BufferReader(lines),
        pyarrow.json.ReadOptions(use_threads=False, block_size=len(lines) + 1),
        pyarrow.json.ParseOptions(
            explicit_schema=schema or result_schema(bundle), unexpected_field_behavior="error"
        ),
    )


def printable(text: str) -> str:
    """Text that is valid Unicode; what is not in a file name is spelt out."""
    return text.encode("utf-8", "backslashreplace").decode()
