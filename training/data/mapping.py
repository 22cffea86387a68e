"""What the columns of a table mean, and what each of its values says: found out, told, editable."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

import yaml

from porcelain.dataset import SLUG, plain_name
from porcelain.errors import UserError
from porcelain.tables import Row
from porcelain.vocabulary import TASKS
from training.data.labels import NAMED, LabelNames, looks_blank, says_unknown
from training.data.museums.phrases import default_table
from training.data.museums.reading import Reading, blank, mapped
from training.data.tables import Table

MAPPING_FILE: Final = "mapping.yaml"
KEEP: Final = "keep"
SINGLE: Final = ("file_name", "object_id", "synthetic", *TASKS)
"""What one column can mean; the others are texts, of which several may be read."""

TEXTS: Final = ("title", "material", "date", "notes")
"""Columns out of whose words is read what no label column says."""

_READ_FOR: Final = {
    "dynasty": ("title", "date", "notes"),
    "type": ("title", "notes"),
    "glaze": ("title", "material", "notes"),
    "kiln": ("title", "material", "notes"),
}
"""The texts that the rule of a task reads, which name its answer in `mapping.yaml`."""

_SECOND: Final = {"dynasty": "date", "glaze": "material"}
"""What a further column of a label is read as, where there is one already."""

_BY_VALUES: Final = 0.8
"""Share of a column's values that must be names of one task's labels for it to be that task's."""

_HEAD: Final = """\
# What was made of {source}. Edit it and run the same command again with
#   --mapping {name}
# columns: each is one of {meanings},
#   or keep (carried along and not read).
# values: per task the text of a cell and the label that it means; null leaves it blank. What was
#   left blank stands first, then what was read out of free text, then plain names of labels.
"""


@dataclass(frozen=True)
class Column:
    """What a column is read as, and why."""

    meaning: str
    why: str


@dataclass(frozen=True)
class Mapping:
    """What the user says of columns and values; all else is found out."""

    columns: dict[str, str] = field(default_factory=dict)
    values: dict[str, dict[str, str | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What a row says of one task.

    Attributes:
        label: The label; None leaves it blank.
        why: What kind of answer this is, as in `training.data.museums.reading`, or `given`.
        words: The words that decided.
        text: The cell, or the cells, that were read.
    """

    label: str | None
    why: str
    words: str
    text: str

    @property
    def doubt(self) -> int:
        """How much it wants looking at: 0 for a blank with a text, 3 for an empty cell."""
        if self.label is None:
            return 0 if not looks_blank(self.text) else 3
        return 2 if self.words == NAMED or self.why == "given" else 1


@cache
def _known_columns() -> dict[str, tuple[str, int]]:
    """Meaning of every known name of a column, and its rank among those of that meaning."""
    text = files("training.data").joinpath("columns.yaml").read_text(encoding="utf-8")
    known: dict[str, tuple[str, int]] = {}
    for meaning, lines in yaml.safe_load(text).items():
        names = [name for line in lines for name in str(line).split(";")]
        for rank, name in enumerate([meaning, *names]):
            known.setdefault(_plain(name), (meaning, rank))
    return known


def _plain(name: str) -> str:
    spelled = str.maketrans(default_table().characters)
    return re.sub(r"[.:#°*']+", "", plain_name(name)).translate(spelled)


def meaning_of(column: str) -> tuple[str, int] | None:
    """What a column of this name means, with the rank of the name; None where it is not known."""
    known = _known_columns()
    for part in [column, *re.split(r"[/(（\[,;|]", column)]:
        if found := known.get(_plain(part)):
            return found
    return None


def count_known(cells: Sequence[str]) -> int:
    """How many cells of a row are known names of columns."""
    return len({found[0] for cell in cells if len(cell) < 60 and (found := meaning_of(cell))})


def assign_columns(
    table: Table, given: MappingABC[str, str], names: LabelNames
) -> dict[str, Column]:
    """What each column means: as given, by its name, or by its values.

    Raises:
        UserError: A column that is given is not there, or what it is to mean is unknown.
    """
    meanings = (*SINGLE, *TEXTS, KEEP)
    columns: dict[str, Column] = {}
    for name, meaning in given.items():
        column = next((c for c in table.columns if plain_name(c) == plain_name(name)), None)
        if column is None:
            listed = ", ".join(map(repr, table.columns))
            raise UserError(f"{table.path} has no column {name!r}; it has {listed}.")
        if meaning not in meanings:
            raise UserError(f"{name!r} cannot mean {meaning!r}, but {', '.join(meanings)}.")
        columns[column] = Column(meaning, "given")
    taken = {column.meaning for column in columns.values()}
    found = [(c, known) for c in table.columns if c not in columns and (known := meaning_of(c))]
    for column, (meaning, _) in sorted(found, key=lambda item: item[1][1]):
        if meaning in taken and meaning in SINGLE:
            columns[column] = Column(_SECOND.get(meaning, KEEP), f"a second {meaning}")
        else:
            columns[column] = Column(meaning, "by its name")
        taken.add(meaning)
    for column in table.columns:
        if column not in columns:
            task = _task_of_values(table, column, names)
            fits = task is not None and task not in taken
            columns[column] = Column(task or KEEP, "by its values") if fits else Column(KEEP, "")
            taken.add(columns[column].meaning)
    return {column: columns[column] for column in table.columns}


def _task_of_values(table: Table, column: str, names: LabelNames) -> str | None:
    values = {row.cells[column] for row in table.rows if not looks_blank(row.cells[column])}
    for task in TASKS:
        named = sum(names.label(task, value) is not None for value in values)
        if len(values) > 1 and named >= _BY_VALUES * len(values):
            return task
    return None


class RowReader:
    """Reads the labels of rows, by the user's values first and the rules else."""

    def __init__(
        self,
        columns: MappingABC[str, Column],
        names: LabelNames,
        values: MappingABC[str, MappingABC[str, str | None]],
        rows: Sequence[Row],
    ) -> None:
        """Prepare to read these rows under these columns."""
        self._names, self._values = names, values
        # A column that is already as a dataset folder has it keeps its labels, known or not.
        self._slugs = {
            task
            for task in TASKS
            if all(
                SLUG.fullmatch(cell) or looks_blank(cell)
                for row in rows
                if (cell := row.cells.get(task, ""))
            )
        }
        self._column = {c.meaning: name for name, c in columns.items() if c.meaning in SINGLE}
        self._texts = {
            role: [name for name, column in columns.items() if column.meaning == role]
            for role in TEXTS
        }
        self._remembered: dict[tuple[str, str, str], Reading] = {}

    def cell(self, row: Row, meaning: str) -> str:
        """The cell of the column that means this; empty where none does."""
        column = self._column.get(meaning)
        return row.cells.get(column, "") if column else ""

    def answers(self, row: Row) -> dict[str, Answer]:
        """What the row says of every task."""
        texts = {
            role: "; ".join(filter(None, (row.cells.get(column, "") for column in columns)))
            for role, columns in self._texts.items()
        }
        return {task: self._answer(task, self.cell(row, task), texts) for task in TASKS}

    def _answer(self, task: str, own: str, texts: dict[str, str]) -> Answer:
        given = self._values.get(task, {})
        if not looks_blank(own):
            others = " | ".join(filter(None, texts.values()))
            reading = self._remember((task, own, others), lambda: self._read(task, own, others))
            return _answer_of(own, reading, given)
        if says_unknown(own):
            return _answer_of(own, blank("not stated", own), given)
        # Notes are asked where the rest says nothing.
        for roles in (TEXTS[:-1], TEXTS):
            said = {role: texts[role] for role in roles if texts[role]}
            text = " | ".join(said[role] for role in said if role in _READ_FOR.get(task, roles))
            if not text:
                continue
            reading = self._remember((task, "", str(said)), lambda: self._read_texts(task, said))  # noqa: B023
            if reading.label is not None or reading.why != "not stated" or roles == TEXTS:
                return _answer_of(text, reading, given)
            if text in given:
                return _answer_of(text, reading, given)
        return Answer(None, "not stated", "", own)

    def _remember(self, key: tuple[str, str, str], read: Callable[[], Reading]) -> Reading:
        if key not in self._remembered:
            self._remembered[key] = read()
        return self._remembered[key]

    def _read(self, task: str, own: str, others: str) -> Reading:
        if task in self._slugs and self._column[task] == task and SLUG.fullmatch(own):
            return mapped(self._names.label(task, own) or own, NAMED)
        return self._names.read(task, own, others)

    def _read_texts(self, task: str, texts: dict[str, str]) -> Reading:
        reading = self._names.read_record(task, texts)
        if reading.label is None and reading.why == "not stated":
            named = self._names.parts(task, texts.get("title", ""))
            return mapped(*next(iter(named.items()))) if len(named) == 1 else reading
        return reading


def _answer_of(text: str, reading: Reading, given: MappingABC[str, str | None]) -> Answer:
    """What a text says: as the rules read it, unless the user says otherwise."""
    if text in given and given[text] != reading.label:
        return Answer(given[text], "given", "", text)
    return Answer(reading.label, reading.why, reading.evidence, text)


def load_mapping(path: Path) -> Mapping:
    """Read a `mapping.yaml`.

    Raises:
        UserError: It is missing, not of this form, or names a label that is no slug.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=yaml.CSafeLoader) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read as a mapping: {said}.") from error
    if not isinstance(content, dict) or not content.keys() <= {"columns", "values"}:
        raise UserError(f"{path} must hold `columns` and `values`, as an import writes them.")
    columns, values = content.get("columns") or {}, content.get("values") or {}
    if not isinstance(columns, dict) or not isinstance(values, dict):
        raise UserError(f"{path}: `columns` and `values` must each be a table of names.")
    checked: dict[str, dict[str, str | None]] = {}
    for task, labels in values.items():
        if task not in TASKS or not isinstance(labels, dict | None):
            raise UserError(f"{path}: values: {task!r} is no task; tasks are {', '.join(TASKS)}.")
        checked[task] = {}
        for text, label in (labels or {}).items():
            if label is not None and not SLUG.fullmatch(str(label)):
                raise UserError(
                    f"{path}: values: {task}: {str(text)!r} means {label!r}, which is not a "
                    "lower-case slug such as blue_and_white."
                )
            checked[task][str(text)] = None if label is None else str(label)
    return Mapping({str(k): str(v) for k, v in columns.items()}, checked)


def mapping_text(
    source: str,
    columns: MappingABC[str, Column],
    answers: MappingABC[str, Sequence[Answer]],
) -> str:
    """The content of `mapping.yaml`.

    Args:
        source: What was imported, for the comment.
        columns: What the columns mean.
        answers: Per task the different answers, in the order to list them in. A text that was
            answered in two ways, because other cells decide, is left to the rules.
    """
    values: dict[str, dict[str, str | None]] = {}
    for task, listed in answers.items():
        labels: dict[str, set[str | None]] = {}
        for answer in listed:
            if answer.text:
                labels.setdefault(answer.text, set()).add(answer.label)
        values[task] = {text: next(iter(s)) for text, s in labels.items() if len(s) == 1}
    meanings = ", ".join((*SINGLE, *TEXTS))
    content = {"columns": {name: c.meaning for name, c in columns.items()}, "values": values}
    body = yaml.dump(content, Dumper=yaml.CSafeDumper, allow_unicode=True, sort_keys=False)
    head = _HEAD.format(source=" ".join(source.split()), name=MAPPING_FILE, meanings=meanings)
    return head + body
