"""The glaze or decoration of a record: by its name, else by a ware that has only one."""

from __future__ import annotations

import re
from functools import cache

from training.data.museums.form import title_head, words_before_name
from training.data.museums.kiln import Ware, read_ware
from training.data.museums.phrases import (
    GREEN_OR_CELADON,
    UNDECIDED,
    Entry,
    Match,
    compile_labels,
    compile_phrases,
    default_table,
    find,
    patterns,
)
from training.data.museums.reading import Reading, blank, mapped
from training.data.museums.record import CatalogueRecord
from training.data.museums.text import cut


def read_glaze(record: CatalogueRecord) -> Reading:
    """The glaze that the material names; else the title; else the notes; else the ware."""
    bodies = read_bodies(record)
    ware = read_ware(record)
    everything = record.say("title", "form", "material", "notes")
    for role in ("material", "title", "notes"):
        said = cut(record.say(role), _ignored())
        found = find(_entries(), said, bodies, everything)
        if found:
            reading = _decide(record, found, ware)
            return _unless_title_differs(record, reading, bodies) if role == "material" else reading
        colour = None if role == "material" else _colour_of(record.say(role), bodies)
        if colour is not None:
            return _of_ware(colour, ware)
    material = record.say("material")
    colourless = find(_colourless(), material, bodies, record.say("title", "material"))
    if colourless:
        return mapped(colourless[0].label, colourless[0].words)
    if ware is not None and ware.named and ware.glaze:
        return mapped(ware.glaze, ware.words)
    return blank("not stated", material)


def read_bodies(record: CatalogueRecord) -> frozenset[str]:
    """What the object is made of: the bodies that the first field to name one names."""
    for role in ("material", "title", "category", "notes"):
        found = {match.label for match in find(_bodies(), record.say(role))}
        if found:
            return frozenset(found)
    return frozenset()


@cache
def _bodies() -> list[Entry]:
    return compile_labels(default_table().bodies)


@cache
def _ignored() -> list[re.Pattern[str]]:
    return patterns(default_table().glaze.ignore)


@cache
def _entries() -> list[Entry]:
    table = default_table().glaze
    return compile_phrases(UNDECIDED, table.undecided) + compile_labels(table.labels)


@cache
def _colourless() -> list[Entry]:
    return compile_labels(default_table().glaze.colourless)


@cache
def _colours() -> list[Entry]:
    return compile_labels(default_table().glaze.title_colours)


def _decide(record: CatalogueRecord, found: list[Match], ware: Ware | None) -> Reading:
    words = "; ".join(dict.fromkeys(match.words for match in found))
    ground = _enamel_ground(record, found)
    if ground is not None:
        return ground
    read = [_of_ware(match, ware) for match in found]
    labels = {reading.label for reading in read}
    for rule in default_table().glaze.together:
        if labels.issuperset(rule.all):
            return mapped(rule.means, words)
    if len(labels) > 1:
        return blank("several", words)
    label = labels.pop()
    return blank("undecided", words) if label is None else mapped(label, words)


def _unless_title_differs(
    record: CatalogueRecord, reading: Reading, bodies: frozenset[str]
) -> Reading:
    """Blank where the title's head names another glaze: "peachbloom bowl", "underglaze blue".

    Enamels may stand on any glaze.
    """
    head = cut(title_head(record.say("title")), _ignored())
    named = {match.label for match in find(_entries(), head, bodies)} - {UNDECIDED}
    if reading.label in (None, "polychrome") or not named or reading.label in named:
        return reading
    return blank("fields disagree", f"{reading.evidence}; {head}")


def _of_ware(match: Match, ware: Ware | None) -> Reading:
    """What a named glaze means on this ware."""
    label = match.label
    if ware is not None and label in ware.instead:
        label = ware.instead[label]
    if label in (UNDECIDED, GREEN_OR_CELADON):
        return blank("undecided", match.words)
    return mapped(label, match.words)


def _colour_of(said: str, bodies: frozenset[str]) -> Match | None:
    """The colour in front of the object's name: "blue bowl", not "bowl with blue fish"."""
    found = find(_colours(), words_before_name(title_head(said)))
    if not found:
        return None
    colour = found[0]
    if colour.label == "green" and bodies.isdisjoint({"earthenware", "porcelain"}):
        return Match(GREEN_OR_CELADON, colour.words, colour.start, colour.end)
    return colour


def _enamel_ground(record: CatalogueRecord, found: list[Match]) -> Reading | None:
    """One colour all over, or pictures on it? "Yellow dish" of "overglaze enamel" may be either.

    "Overglaze yellow enamel" makes it yellow.
    """
    colour = _colour_of(record.say("title"), frozenset({"porcelain"}))
    if colour is None or {match.label for match in found} != {"polychrome"}:
        return None
    if any("enamel" not in m.words and "glaze" not in m.words for m in found):
        return None  # famille noire, wucai
    words = f"{colour.words}; {found[0].words}"
    word = re.split("[ -]", colour.words)[-1]
    if re.search(rf"{word} (overglaze )?enamel|overglaze {word}", record.say("material")):
        return mapped(colour.label, words)
    return blank("undecided", words)
