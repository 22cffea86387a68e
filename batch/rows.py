"""The result's table: one row per input, with its answers or its error."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.json

from porcelain.bundle import Bundle
from porcelain.predictor import TaskPrediction

Row = dict[str, Any]

_TOP = pa.list_(pa.struct([("label", pa.string()), ("probability", pa.float32())]))


def result_schema(bundle: Bundle) -> pa.Schema:
    """Columns of a bundle's results.

    `index` is the input's place in the listing, from 0. Per task: the label, its calibrated
    probability, whether it is too unsure to count, and the top candidates. Where there is an
    error, everything but `index`, `path` and the model is null.
    """
    fields: list[tuple[str, pa.DataType]] = [
        ("index", pa.int64()),
        ("path", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("format", pa.string()),
    ]
    for task in bundle.classifier.labels:
        fields += [
            (task, pa.string()),
            (f"{task}_probability", pa.float32()),
            (f"{task}_abstained", pa.bool_()),
            (f"{task}_top", _TOP),
        ]
    fields += [("error_kind", pa.string()), ("error", pa.string())]
    fields += [(f"model_{name}", pa.string()) for name in ("name", "version", "digest")]
    return pa.schema(fields)


def answer_row(
    index: int,
    location: str,
    width: int | None,
    height: int | None,
    image_format: str | None,
    answers: Mapping[str, TaskPrediction],
) -> Row:
    """The row of a picture that was answered."""
    row: Row = {
        "index": index,
        "path": printable(location),
        "width": width,
        "height": height,
        "format": image_format,
    }
    for task, answer in answers.items():
        row[task] = answer.label
        row[f"{task}_probability"] = answer.probability
        row[f"{task}_abstained"] = answer.abstained
        row[f"{task}_top"] = [
            {"label": one.label, "probability": one.probability} for one in answer.top
        ]
    return row


def error_row(index: int, location: str, kind: str, error: str) -> Row:
    """The row of a picture that could not be used."""
    return {
        "index": index,
        "path": printable(location),
        "error_kind": kind,
        "error": printable(error),
    }


def table_of(rows: Sequence[Row], bundle: Bundle) -> pa.Table:
    """Rows as a table, each with the model that answered."""
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
            explicit_schema=result_schema(bundle), unexpected_field_behavior="error"
        ),
    )


def printable(text: str) -> str:
    """Text that is valid Unicode; what is not in a file name is spelt out."""
    return text.encode("utf-8", "backslashreplace").decode()
