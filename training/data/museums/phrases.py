"""The table of phrases, `phrases.yaml`: read, checked and compiled."""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Final

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from porcelain.errors import UserError
from training.data.museums.text import phrase_pattern

TABLE: Final = "phrases.yaml"
UNDECIDED: Final = "undecided"
GREEN_OR_CELADON: Final = "green_or_celadon"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Conditional(_Part):
    """A phrase that counts only on some bodies, or only where the record never says a word."""

    say: str
    body: list[str] | None = None
    without: str | None = None


def _split(value: object) -> object:
    return [part.strip() for part in value.split(";")] if isinstance(value, str) else value


# A list, or one text with semicolons between the phrases.
Phrases = Annotated[list[str | Conditional], BeforeValidator(_split)]


class SelectionTable(_Part):
    """Which records are Chinese ceramics."""

    china: Phrases
    ignore: Phrases
    foreign: Phrases
    foreign_wares: Phrases
    other_materials: Phrases
    never: Phrases
    not_materials: Phrases


class Homonym(_Part):
    """A name that two dynasties share."""

    phrases: Phrases
    means: list[str]


class DynastyTable(_Part):
    """Names, reigns and years of dynasties."""

    ignore: Phrases
    hedges: Phrases
    doubts: Phrases
    labels: dict[str, Phrases]
    homonyms: dict[str, Homonym]
    reigns: dict[str, Phrases]
    other_periods: Phrases
    years: dict[str, list[tuple[int, int]]]
    other_years: list[tuple[int, int]]


class Together(_Part):
    """Labels that, found in one record, are read as one."""

    all: list[str]
    means: str


class GlazeTable(_Part):
    """Names of glazes and decorations."""

    ignore: Phrases
    undecided: Phrases
    labels: dict[str, Phrases]
    colourless: dict[str, Phrases]
    title_colours: dict[str, Phrases]
    together: list[Together]


class Ware(_Part):
    """A kiln by its wares' names and its places."""

    wares: Phrases = []
    places: Phrases = []
    glaze: str | None = None
    instead: dict[str, str] = {}


class KilnTable(_Part):
    """Names of wares and places of kilns."""

    ignore: Phrases
    made_there: Phrases
    types_are_wares: list[str]
    hedges: Phrases
    labels: dict[str, Ware]
    other_wares: list[Ware]


class TypeTable(_Part):
    """Names of objects."""

    accessories: Phrases
    accessory_label: str
    labels: dict[str, Phrases]
    models: Phrases
    undecided: Phrases
    prefixes: Phrases


def _pairs(value: object) -> object:
    return {pair[0]: pair[1:] for pair in value.split()} if isinstance(value, str) else value


class Table(_Part):
    """All of `phrases.yaml`."""

    characters: Annotated[dict[str, str], BeforeValidator(_pairs)]
    bodies: dict[str, Phrases]
    selection: SelectionTable
    dynasty: DynastyTable
    glaze: GlazeTable
    kiln: KilnTable
    type: TypeTable


@dataclass(frozen=True)
class Entry:
    """A compiled phrase.

    Attributes:
        label: What it means.
        phrase: As written in the table.
        pattern: Finds it in normalised text.
        body: Bodies on which it counts; None for all.
        without: Text that the record must not hold; None for any.
    """

    label: str
    phrase: str
    pattern: re.Pattern[str]
    body: tuple[str, ...] | None = None
    without: re.Pattern[str] | None = None


@dataclass(frozen=True)
class Match:
    """Where a phrase stands in a text."""

    label: str
    words: str
    start: int
    end: int


def compile_phrases(label: str, phrases: Phrases) -> list[Entry]:
    """The phrases of one label, compiled.

    Raises:
        UserError: A phrase is not a regular expression.
    """
    return [_entry(label, phrase) for phrase in phrases]


def compile_labels(table: Mapping[str, Phrases]) -> list[Entry]:
    """The phrases of every label of a table, compiled."""
    return [entry for label, phrases in table.items() for entry in compile_phrases(label, phrases)]


def _entry(label: str, phrase: str | Conditional) -> Entry:
    spelled = Conditional(say=phrase) if isinstance(phrase, str) else phrase
    try:
        return Entry(
            label,
            spelled.say,
            phrase_pattern(spelled.say),
            None if spelled.body is None else tuple(spelled.body),
            None if spelled.without is None else re.compile(spelled.without),
        )
    except re.error as error:
        raise UserError(f"{TABLE}: the phrase {spelled.say!r} of {label}: {error}.") from error


def patterns(phrases: Phrases) -> list[re.Pattern[str]]:
    """The patterns alone, for phrases without conditions."""
    return [entry.pattern for entry in compile_phrases("", phrases)]


def find(
    entries: list[Entry], text: str, bodies: frozenset[str] = frozenset(), everything: str = ""
) -> list[Match]:
    """Every phrase in `text`, in order; of those that overlap the longest, then the first.

    Args:
        entries: Compiled phrases.
        text: Normalised text.
        bodies: Bodies that the record names, for phrases that ask.
        everything: All of the record's text, for phrases that must not stand beside others.
    """
    found: list[Match] = []
    for entry in entries:
        if entry.body is not None and not bodies.intersection(entry.body):
            continue
        if entry.without is not None and entry.without.search(everything):
            continue
        found += [
            Match(entry.label, m[0].strip(), m.start(), m.end())
            for m in entry.pattern.finditer(text)
            if m[0].strip()
        ]
    kept: list[Match] = []  # in order, and none overlaps another: only neighbours can be in the way
    for match in sorted(found, key=lambda m: (m.start - m.end, m.start)):
        place = bisect(kept, match.start, key=lambda m: m.start)
        before = place == 0 or kept[place - 1].end <= match.start
        if before and (place == len(kept) or match.end <= kept[place].start):
            kept.insert(place, match)
    return kept


@cache
def default_table() -> Table:
    """The table that ships with the project.

    Raises:
        UserError: It was edited into something that is not a table.
    """
    text = files("training.data.museums").joinpath(TABLE).read_text(encoding="utf-8")
    return parse_table(text)


def parse_table(text: str) -> Table:
    """Read and check a table.

    Raises:
        UserError: The text is not YAML or lacks, or has too many, fields.
    """
    try:
        return Table.model_validate(yaml.safe_load(text))
    except (yaml.YAMLError, ValidationError) as error:
        raise UserError(f"{TABLE} is not a valid table: {error}") from error
