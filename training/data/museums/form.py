"""The type of a record: what the object is called."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from training.data.museums.phrases import (
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

_CHINESE: Final = re.compile("[\u3400-\u9fff]")
# What follows says more about the object, not what it is.
_TAIL: Final = re.compile(
    r"\s(?:with|in|of|for|from|on|over|at|by|showing|depicting|decorated|painted|inscribed|carved)\s"
    r"|[(\[:]|\s-\s"
)
_COMMA: Final = re.compile(r"\s*[,;|]\s*")
_AND: Final = re.compile(r"\s+(?:and|&|with|on)\s+|\s*[|]\s*")
_PART: Final = re.compile(r"\(([a-z ]+)\)\s*$")


def read_type(record: CatalogueRecord) -> Reading:
    """The type that the title names; else the form field, the classification or the notes."""
    titles = record.words.get("title", ())
    for title in titles[:1]:
        reading = _chinese(title) if _CHINESE.search(title) else _title(title)
        if reading is not None:
            return reading
    for role in ("form", "category", "notes"):
        for text in record.words.get(role, ()):
            reading = _chinese(text) if _CHINESE.search(text) else _head(text)
            if reading is not None and not (role == "category" and reading.label is None):
                return reading
    return blank("not stated", record.say("title"))


def title_head(title: str) -> str:
    """The part of a title before "with", "of", "in the shape of" and the like.

    "Pair of", "set of six" and "burial figurine:" in front are left out.
    """
    for prefix in _prefixes():
        title = re.sub(rf"^(?:(?:a|an|the|large|small)\s+)*(?:{prefix})\s*[:,]?\s+", "", title)
    return _TAIL.split(title, maxsplit=1)[0]


def words_before_name(head: str) -> str:
    """What stands in front of the object's name in the head of a title; empty without a name."""
    for part in _COMMA.split(head):
        found = find(_entries(), part)
        if found:
            return part[: found[-1].start]
    return ""


def _title(title: str) -> Reading | None:
    for model in _models():
        if model.match(title):
            # What it is a model of stands behind "of" or the colon.
            reading = _title(model.sub("", title, count=1).lstrip(" :"))
            if reading is None or reading.label in (None, "figure"):
                return reading
            return mapped(default_table().type.accessory_label, title)
    part = _PART.search(title)
    if part is not None:
        # "Cup and Stand (stand)": the record of one part.
        alone = find(_accessories(), part[1])
        if alone and alone[-1].end == len(part[1]):
            return mapped(default_table().type.accessory_label, part[1])
    head = title_head(title)
    reading = _head(head)
    for remark in re.findall(r"\(([^)]*)\)", title):
        # "Ritual vessel (zun)", "vase in the shape of a grain measure (zhadou)".
        names = find(_entries(), remark)
        if reading is not None and names and names[0].words == remark:
            return (
                blank("undecided", remark)
                if names[0].label == UNDECIDED
                else mapped(names[0].label, remark)
            )
    if reading is not None:
        return reading
    # "Plum blossom design on a bowl": nothing in front of the first "on".
    rest = title[len(head) :]
    found = find(_entries(), rest)
    labels = {match.label for match in found}
    if len(labels) == 1 and UNDECIDED not in labels:
        return mapped(found[0].label, found[0].words)
    return blank("several", "; ".join(m.words for m in found)) if found else None


def _head(head: str) -> Reading | None:
    """The type of a noun phrase: the last name in it, of several joined ones the vessel's."""
    named = [_noun(part) for part in _AND.split(head)]
    nouns = [noun for noun in named if noun is not None]
    if not nouns:
        return None
    words = "; ".join(noun.words for noun in nouns)
    main = [noun for i, noun in enumerate(nouns) if i == 0 or not _is_accessory(noun)]
    labels = {noun.label for noun in main}
    if len(labels) > 1:
        return blank("several", words)
    label = labels.pop()
    return blank("undecided", words) if label == UNDECIDED else mapped(label, words)


def _noun(phrase: str) -> Match | None:
    """The last name in a phrase; "Dish, Water" turns round to the part before the comma."""
    for part in _COMMA.split(phrase):
        found = find(_entries(), part)
        if found:
            return found[-1]
    return None


def _chinese(name: str) -> Reading | None:
    """The type of a Chinese name: the last one in it, after quotes and remarks are dropped."""
    name = re.sub(r"[「『（(].*?[」』）)]|銘$|[一二三四五六七八九十對成]+件?$", "", name)
    found = find(_entries(), name)
    if not found:
        return None
    last = found[-1]
    if last.label == UNDECIDED:
        return blank("undecided", last.words)
    return mapped(last.label, last.words)


def _is_accessory(noun: Match) -> bool:
    return any(m.end - m.start == len(noun.words) for m in find(_accessories(), noun.words))


@cache
def _entries() -> list[Entry]:
    table = default_table().type
    return compile_phrases(UNDECIDED, table.undecided) + compile_labels(table.labels)


@cache
def _accessories() -> list[Entry]:
    return compile_phrases("", default_table().type.accessories)


@cache
def _prefixes() -> list[str]:
    phrases = default_table().type.prefixes
    return [entry.phrase.replace(" ", r"\s+") for entry in compile_phrases("", phrases)]


@cache
def _models() -> list[re.Pattern[str]]:
    return patterns(default_table().type.models)
