"""From locations to rows: read, decode, infer. What processes and Ray's actors run.

One bad picture is a row with its error; it stops nothing and nobody.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
import pyarrow as pa

from batch.reading import Reader
from batch.rows import Likeness, Row, answer_row, error_row, result_schema, table_of
from batch.settings import ClassifySettings
from porcelain.bundle import Bundle, ClassifierInfo
from porcelain.errors import ImageError
from porcelain.label_prior import Known, LabelPrior, UnusualCombination
from porcelain.predictor import Predictor, TaskPrediction, interpret, label_prior
from porcelain.preparation import Pixels, decode_and_prepare

CRASHED: Final = "crashed"


@dataclass(frozen=True)
class Entry:
    """One input: its place in the listing, where it is, and what is known of the piece."""

    index: int
    location: str
    known: Known = field(default_factory=dict)


@dataclass(frozen=True)
class Loaded:
    """A picture on its way to the model.

    Attributes:
        entry: Which.
        pixels: The model's input; None where it cannot be had.
        width: Upright width in pixels, likewise.
        height: Upright height, likewise.
        format: Of the file, likewise.
        error: One sentence on what is wrong.
        error_kind: A word for it, to count by.
    """

    entry: Entry
    pixels: Pixels | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None
    error: str | None = None
    error_kind: str | None = None


def load(entry: Entry, reader: Reader, info: ClassifierInfo, settings: ClassifySettings) -> Loaded:
    """Read and decode one picture; whatever is wrong with it is in the answer."""
    try:
        pixels, decoded = decode_and_prepare(
            reader.read(entry.location), info.input_size, info.resize, settings.limits
        )
    except ImageError as error:
        return Loaded(entry, error=str(error), error_kind=error.reason)
    return Loaded(entry, pixels, decoded.width, decoded.height, decoded.format)


@dataclass
class Classification:
    """Answers pictures; made in one process and sent to others, where it loads its model.

    Attributes:
        bundle: The verified bundle.
        settings: The job's.
        root: The URL whose file system locations are read from.
    """

    bundle: Bundle
    settings: ClassifySettings
    root: str | None = None

    @cached_property
    def predictor(self) -> Predictor:
        """The model."""
        return Predictor(self.bundle, threads=1, device=self.settings.device)

    @cached_property
    def prior(self) -> LabelPrior | None:
        """What facts are used with; None where the bundle cannot."""
        info = self.bundle.classifier
        return None if info.known_facts is None else label_prior(info)

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns of the result."""
        return result_schema(self.bundle, self.settings.known)

    @cached_property
    def reader(self) -> Reader:
        """Where pictures are read."""
        return Reader(self.root, self.settings.max_bytes)

    def warm_up(self) -> None:
        """Load the model, and fail if it cannot be.

        Raises:
            BundleError: The graph cannot be loaded.
            UserError: The device is not available.
        """
        self.predictor.warm_up()

    def __call__(self, items: Sequence[Entry]) -> pa.Table:
        """Rows of pictures, in order; no more of them are held at once than the model takes."""
        together = self.settings.together
        groups = (items[start : start + together] for start in range(0, len(items), together))
        return table_of(
            [row for group in groups for row in self._rows(self.load(group))],
            self.bundle,
            self.schema,
        )

    def load(self, entries: Sequence[Entry]) -> list[Loaded]:
        """The pictures, ready for the model."""
        info = self.bundle.classifier
        return [load(entry, self.reader, info, self.settings) for entry in entries]

    def infer(self, loaded: Sequence[Loaded]) -> pa.Table:
        """Rows of loaded pictures."""
        return table_of(self._rows(loaded), self.bundle, self.schema)

    def _rows(self, loaded: Sequence[Loaded]) -> list[Row]:
        usable = [one for one in loaded if one.pixels is not None]
        answers = iter(self._answers(usable))
        rows: list[Row] = []
        for one in loaded:
            head = (one.entry.index, one.entry.location)
            if one.pixels is None:
                rows.append(error_row(*head, one.error_kind or "", one.error or ""))
            else:
                size = (one.width, one.height)
                said, likeness, unusual = next(answers)
                rows.append(answer_row(*head, size, one.format, said, likeness, unusual))
        return rows

    def _answers(
        self, usable: Sequence[Loaded]
    ) -> list[tuple[dict[str, TaskPrediction], Likeness | None, UnusualCombination | None]]:
        """What the model says of each picture: predictions, likeness, an unusual pair."""
        inputs = [one.pixels for one in usable if one.pixels is not None]
        if not inputs:
            return []
        info, settings = self.bundle.classifier, self.settings
        outputs = self.predictor.run(np.stack(inputs))
        every = max(map(len, info.labels.values()))  # from which objects are answered
        kept = every if settings.by_object else settings.top_k
        predictions = interpret(
            info,
            outputs,
            top_k=kept,
            coverage=settings.coverage,
            known=[one.entry.known for one in usable],
            prior=self.prior,
        )
        unusual = [
            None if self.prior is None else self.prior.unusual({t: a.label for t, a in one.items()})
            for one in predictions
        ]
        threshold = info.in_domain_threshold
        scores: list[Likeness | None] = [None] * len(inputs)
        if threshold is not None and outputs.domain is not None:
            scores = [Likeness(bool(score >= threshold), float(score)) for score in outputs.domain]
        return list(zip(predictions, scores, unusual, strict=True))

    def crashed(self, item: Entry) -> pa.Table:
        """The row of a picture that ended the process that read it."""
        said = "Reading it ended the process (a fault in a decoder, or too little memory)."
        row = error_row(item.index, item.location, CRASHED, said)
        return table_of([row], self.bundle, self.schema)


_HEAD: Final = pa.schema(
    [
        ("index", pa.int64()),
        ("path", pa.binary()),
        ("known", pa.string()),
        ("pixels", pa.large_binary()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("format", pa.string()),
        ("error_kind", pa.string()),
        ("error", pa.string()),
    ]
)


def packed_location(location: str) -> bytes:
    """A location as bytes; a file name need not be valid Unicode."""
    return location.encode("utf-8", "surrogateescape")


def unpacked_location(content: bytes) -> str:
    """What `packed_location` packed."""
    return content.decode("utf-8", "surrogateescape")


def pack_loaded(loaded: Sequence[Loaded]) -> pa.Table:
    """Loaded pictures as a table, to go from a decoding process to one with the model."""
    rows = [
        {
            "index": one.entry.index,
            "path": packed_location(one.entry.location),
            "known": json.dumps(dict(one.entry.known)),
            "pixels": None if one.pixels is None else one.pixels.tobytes(),
            "width": one.width,
            "height": one.height,
            "format": one.format,
            "error_kind": one.error_kind,
            "error": one.error,
        }
        for one in loaded
    ]
    return pa.Table.from_pylist(rows, schema=_HEAD)


def unpack_loaded(table: pa.Table, size: int) -> list[Loaded]:
    """What `pack_loaded` packed; `size` is the side of the model's square."""
    return [
        Loaded(
            Entry(row["index"], unpacked_location(row["path"]), json.loads(row["known"])),
            None
            if row["pixels"] is None
            else np.frombuffer(row["pixels"], np.uint8).reshape(size, size, 3),
            row["width"],
            row["height"],
            row["format"],
            row["error"],
            row["error_kind"],
        )
        for row in table.to_pylist()
    ]
