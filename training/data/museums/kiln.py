"""The kiln of a record: by the name of its ware or the place of its kilns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

from training.data.museums.phrases import (
    Entry,
    Match,
    compile_phrases,
    default_table,
    find,
    patterns,
)
from training.data.museums.reading import Reading, blank, mapped
from training.data.museums.record import CatalogueRecord
from training.data.museums.text import cut

_CHINESE: Final = re.compile("[\u3400-\u9fff]")
_NEAR: Final = 14  # characters between a hedge and what it hedges
_ROLES: Final = ("material", "title", "place", "period", "maker")


@dataclass(frozen=True)
class Ware:
    """A ware as the record names it.

    Attributes:
        kiln: Its label; None where it has none.
        words: The catalogue's words.
        named: Whether the ware itself is named, not only a place.
        glaze: The glaze that it has by definition.
        instead: What a colour means on it.
    """

    kiln: str | None
    words: str
    named: bool
    glaze: str | None
    instead: dict[str, str]


def read_kiln(record: CatalogueRecord) -> Reading:
    """The kiln that the record names; two of them, or a doubtful one, leave it blank."""
    for roles in (_ROLES, ("notes",)):
        said = cut(record.say(*roles), _ignored())
        found = _kilns("", said) if roles == ("notes",) else _kilns(said)
        if not found:
            continue
        words = "; ".join(dict.fromkeys(match.words for match in found))
        kilns = {match.label.partition("/")[0] for match in found}
        if len(kilns) > 1:
            return blank("several", words)
        kiln = kilns.pop()
        if not kiln:
            return blank("outside the labels", words)
        if any(_hedged(said, match) for match in found):
            return blank("hedged", words)
        return mapped(kiln, words)
    return blank("not stated")


def read_ware(record: CatalogueRecord) -> Ware | None:
    """The ware whose glaze the record's may be taken from; None where none or several are named."""
    said = cut(record.say("material", "title"), _ignored())
    notes = cut(record.say("notes"), _ignored())
    found = [match for match in _kilns(said) if not _hedged(said, match)]
    found = found or [match for match in _kilns("", notes) if not _hedged(notes, match)]
    if len({match.label.partition("/")[0] for match in found}) != 1:
        return None
    named = next((match for match in found if match.label.endswith("/ware")), found[0])
    kiln = named.label.partition("/")[0]
    table = default_table().kiln
    if kiln:
        entry = table.labels[kiln]
    else:
        pattern = [(w, e) for w in table.other_wares for e in compile_phrases("", w.wares)]
        entry = next(w for w, e in pattern if e.pattern.search(named.words))
    return Ware(
        kiln or None, named.words, named.label.endswith("/ware"), entry.glaze, entry.instead
    )


@cache
def _entries() -> list[Entry]:
    table = default_table().kiln
    entries: list[Entry] = []
    for kiln, ware in table.labels.items():
        entries += compile_phrases(f"{kiln}/ware", ware.wares)
        entries += compile_phrases(f"{kiln}/place", ware.places)
    for ware in table.other_wares:
        entries += compile_phrases("/ware", ware.wares)
    return entries


@cache
def _ignored() -> list[re.Pattern[str]]:
    return patterns(default_table().kiln.ignore)


@cache
def _hedges() -> list[re.Pattern[str]]:
    return patterns(default_table().kiln.hedges)


def _kilns(said: str, notes: str = "") -> list[Match]:
    """Every ware and place named, but for "X-type" where the type is not the ware.

    Args:
        said: What is searched.
        notes: Prose behind it; a Chinese name in it counts only where it says "made there".
    """
    made = patterns(default_table().kiln.made_there)
    prose = [
        match
        for match in _named(notes)
        if not _CHINESE.search(match.words)
        or any(p.search(_clause(notes, match.end)) for p in made)
    ]
    return _named(said) + prose


def _clause(notes: str, start: int) -> str:
    """The next few characters of the same clause."""
    return re.split("[，。；、,;.]", notes[start : start + 8])[0]


def _named(said: str) -> list[Match]:
    types = default_table().kiln.types_are_wares
    return [
        match
        for match in find(_entries(), said)
        if match.label.partition("/")[0] in types
        or not re.match(r"[\s-]*types?\b", said[match.end :])
    ]


def _hedged(said: str, match: Match) -> bool:
    before = re.split("[;,(]", said[max(0, match.start - _NEAR) : match.start])[-1]
    after = re.split("[;,]", said[match.end : match.end + _NEAR])[0]
    return any(p.search(before) or p.search(after) for p in _hedges())
