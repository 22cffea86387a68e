"""What `porcelain batch generate` is to make: rows of a table, read one at a time.

A CSV, JSON-lines or Parquet file with any of the columns dynasty, glaze, kiln, type (blank means
unknown), count (1), seed, steps and guidance_scale.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from batch.settings import GenerateSettings
from porcelain.bundle import Bundle, GeneratorInfo
from porcelain.errors import UserError
from porcelain.files import sha256_bytes
from porcelain.prompts import prompt_for
from porcelain.tables import read_csv
from porcelain.vocabulary import TASKS, load_taxonomy

LARGEST_SEED: Final = 2**53 - 1
IGNORED: Final = frozenset({"photographs"})
"""A column of `porcelain generator synthesize --dry-run`, whose plans are plans here too."""


class PlanRow(BaseModel):
    """One row.

    Attributes:
        dynasty: A label that the generator learned; None leaves it open.
        glaze: Likewise.
        kiln: Likewise.
        type: Likewise.
        count: Pictures.
        seed: Of the first picture, counting up; None derives one from the job's.
        steps: Of the sampler; None takes the job's.
        guidance_scale: Likewise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dynasty: str | None = None
    glaze: str | None = None
    kiln: str | None = None
    type: str | None = None
    count: Annotated[int, Field(ge=0)] = 1
    seed: Annotated[int | None, Field(ge=0, le=LARGEST_SEED)] = None
    steps: Annotated[int | None, Field(ge=1, le=1000)] = None
    guidance_scale: Annotated[float | None, Field(ge=0, le=50)] = None

    @model_validator(mode="after")
    def _counts_up(self) -> Self:
        if self.seed is not None and self.seed + self.count - 1 > LARGEST_SEED:
            raise ValueError(f"seed would count up beyond {LARGEST_SEED}")
        return self

    def labels(self) -> dict[str, str]:
        """The labels that are known."""
        found = {task: getattr(self, task) for task in TASKS}
        return {task: label for task, label in found.items() if label}


@dataclass(frozen=True)
class Picture:
    """A picture to make.

    Attributes:
        number: Its place in the plan, from 0.
        labels: What it shows.
        prompt: What the generator is asked for.
        seed: Of its own random numbers.
        steps: Of the sampler.
        guidance_scale: Of classifier-free guidance.
    """

    number: int
    labels: dict[str, str]
    prompt: str
    seed: int
    steps: int
    guidance_scale: float


class Plan:
    """A plan and the generator that is to follow it. Nothing of it is held in memory."""

    def __init__(self, path: Path, bundle: Bundle, settings: GenerateSettings) -> None:
        """Check every row.

        Raises:
            UserError: Not a plan, or one that the generator cannot follow.
        """
        self.path = path
        self._settings = settings
        self._info = bundle.generator
        self._taxonomy = load_taxonomy(bundle.path)
        seen = [frozenset(one.labels.items()) for one in self._info.combinations]
        self.rows, self.total = 0, 0
        for line, row in self._read():
            _check_labels(row.labels(), self._info, f"{path} row {line}")
            if not settings.allow_unseen:
                _check_seen(row.labels(), seen, f"{path} row {line}")
            self.rows += 1
            self.total += row.count
        if self.total == 0:
            raise UserError(f"The plan {path} asks for no picture; give it rows with a count.")

    def pictures(self) -> Iterator[Picture]:
        """Every picture, in the order of the rows."""
        number = 0
        defaults = self._info.sampling
        for line, row in self._read():
            labels = row.labels()
            prompt = prompt_for(labels, self._taxonomy, self._info.prompt_template)
            steps = row.steps or self._settings.steps or defaults.steps
            guidance = _first(
                row.guidance_scale, self._settings.guidance_scale, defaults.guidance_scale
            )
            for repeat in range(row.count):
                seed = self._seed(row, line, repeat)
                yield Picture(number, labels, prompt, seed, steps, guidance)
                number += 1

    def batches(self) -> Iterator[list[Picture]]:
        """Pictures that are denoised together: neighbours of equal steps."""
        return in_batches(self.pictures(), self._settings.batch_size)

    def _seed(self, row: PlanRow, line: int, repeat: int) -> int:
        """A seed that depends on nothing that is added to the plan's end."""
        if row.seed is not None:
            return row.seed + repeat
        return int(sha256_bytes(f"{self._settings.seed}/{line}/{repeat}".encode())[:8], 16)

    def _read(self) -> Iterator[tuple[int, PlanRow]]:
        """Rows that say anything, numbered from 1."""
        cells = (
            {k: v for k, v in row.items() if k not in IGNORED and v not in (None, "")}
            for row in _cells(self.path)
        )
        for number, given in enumerate(filter(None, cells), start=1):
            try:
                yield number, PlanRow.model_validate(given)
            except ValidationError as error:
                first = error.errors()[0]
                name = "".join(f"{part}: " for part in first["loc"])
                raise UserError(
                    f"{self.path} row {number}: {name}{first['msg']}. Columns are "
                    f"{', '.join(PlanRow.model_fields)}."
                ) from error


def in_batches(pictures: Iterable[Picture], size: int) -> Iterator[list[Picture]]:
    """Neighbours of equal steps, at most `size` together."""
    for _, alike in groupby(pictures, key=lambda picture: picture.steps):
        while batch := list(islice(alike, size)):
            yield batch


def _cells(path: Path) -> Iterator[Mapping[str, Any]]:
    """The rows of a file, by its suffix."""
    readers = {".csv": _csv, ".jsonl": _json_lines, ".ndjson": _json_lines, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"The plan {path} must be a .csv, .jsonl or .parquet file.")
    try:
        yield from reader(path)
    except (OSError, ValueError) as error:
        said = str(error).partition("\n")[0]
        raise UserError(f"The plan {path} cannot be read: {said}.") from error


def _csv(path: Path) -> Iterator[Mapping[str, Any]]:
    _, rows = read_csv(path)
    for row in rows:
        yield row.cells


def _json_lines(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"line {number} is not JSON: {error.msg}") from error
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is not a JSON object")
            yield row


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=1024):
            yield from batch.to_pylist()


def _check_labels(labels: Mapping[str, str], info: GeneratorInfo, place: str) -> None:
    for task, label in labels.items():
        known = info.labels.get(task, [])
        if label not in known:
            raise UserError(
                f"{place}: the generator has learned no {task} {label!r}; it knows "
                f"{', '.join(known) or 'none'}."
            )


def _check_seen(
    labels: Mapping[str, str], seen: list[frozenset[tuple[str, str]]], place: str
) -> None:
    asked = frozenset(labels.items())
    if asked and not any(asked <= one for one in seen):
        raise UserError(
            f"{place}: training never saw {' + '.join(f'{k} {v}' for k, v in labels.items())} "
            "together; leave a label out, or add --allow-unseen to make what history may never "
            "have made."
        )


def _first(*values: float | None) -> float:
    """The first that is given."""
    return next(value for value in values if value is not None)
