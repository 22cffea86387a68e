"""Which records are Chinese ceramics."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

from training.data.museums.dynasty import names_dynasty
from training.data.museums.glaze import read_bodies
from training.data.museums.museum import Museum
from training.data.museums.phrases import Entry, compile_phrases, default_table, find, patterns
from training.data.museums.record import CatalogueRecord
from training.data.museums.text import cut

_WHERE: Final = ("place", "maker", "period")
_WHAT: Final = ("material", "title", "category", "notes")


@dataclass(frozen=True)
class Choice:
    """Whether a record is kept, and why not where it is not."""

    kept: bool
    why: str = ""


def is_chinese_ceramic(record: CatalogueRecord, museum: Museum) -> Choice:
    """Whether the record's own words make it a Chinese ceramic and nothing else.

    Args:
        record: The record.
        museum: Its museum's entry, which says what stands for the country.
    """
    where = cut(record.say(*_WHERE), _patterns("ignore"))
    foreign = _first("foreign", where) or _first(
        "foreign_wares", f"{where}; {record.say('title', 'material')}"
    )
    if foreign:
        return Choice(False, f"another country: {foreign}")
    by_dynasty = museum.dynasty_is_country and names_dynasty(record)
    if not (by_dynasty or _first("china", where)):
        return Choice(False, "not said to be Chinese")
    if not read_bodies(record):
        return Choice(False, "not said to be ceramic")
    other = _first("never", record.say("title", "material")) or _other_material(record)
    if other:
        return Choice(False, f"first of all of another material: {other}")
    return Choice(True)


def _other_material(record: CatalogueRecord) -> str:
    """Another material that is named before the ceramic, in the field that says what it is."""
    for role in _WHAT:
        said = cut(record.say(role), _patterns("not_materials"))
        other = find(_other_materials(), said)
        bodies = [match for entries in _bodies() for match in find(entries, said)]
        if bodies:
            first = min(match.start for match in bodies)
            return other[0].words if other and other[0].start < first else ""
        if other and role == "material":
            return other[0].words
    return ""


@cache
def _other_materials() -> list[Entry]:
    return compile_phrases("", default_table().selection.other_materials)


@cache
def _bodies() -> list[list[Entry]]:
    table = default_table().bodies
    return [compile_phrases(body, phrases) for body, phrases in table.items()]


@cache
def _patterns(field: str) -> list[re.Pattern[str]]:
    return patterns(getattr(default_table().selection, field))


def _first(field: str, said: str) -> str:
    found = (pattern.search(said) for pattern in _patterns(field))
    return next((match[0].strip() for match in found if match), "")
