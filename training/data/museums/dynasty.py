"""The dynasty of a record: by its name or a reign's, else by years."""

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
from training.data.museums.text import cut
from training.data.museums.years import YearRange, year_ranges

_SLACK: Final = 3  # catalogues end the Song in 1276 or 1279
_NEAR: Final = 12  # characters between a hedge and what it hedges
_HOMONYM: Final = "homonym:"
_ONE_CHARACTER: Final = re.compile("[\u3400-\u9fff]")


def read_dynasty(record: CatalogueRecord) -> Reading:
    """The dynasty that the record names, or that its years lie in.

    The fields for period, date and maker are read first; the title and notes only speak where
    those are empty. Notes that call the object a later copy leave it blank.
    """
    doubts = (p.search(record.say("notes")) for p in _table_patterns("doubts"))
    doubt = next((found for found in doubts if found), None)
    if doubt is not None:
        return blank("hedged", doubt[0])
    years = _years(record)
    for roles in (("period",), ("date", "maker"), ("title",), ("notes",)):
        said = cut(record.say(*roles), _table_patterns("ignore"))
        names = _names(said, years, prose=roles in (("title",), ("notes",)))
        if names:
            return _by_name(said, names, years)
        if roles == ("date", "maker") and years:
            return _by_years(years, record.say("date") or record.say("period"))
    return blank("not stated")


@cache
def _entries() -> list[Entry]:
    table = default_table().dynasty
    entries = compile_phrases(UNDECIDED, table.other_periods)
    entries += compile_labels(table.labels) + compile_labels(table.reigns)
    for name, homonym in table.homonyms.items():
        entries += compile_phrases(_HOMONYM + name, homonym.phrases)
    return entries


@cache
def _table_patterns(field: str) -> list[re.Pattern[str]]:
    return patterns(getattr(default_table().dynasty, field))


def names_dynasty(record: CatalogueRecord) -> bool:
    """Whether the field for the period names a Chinese dynasty or period."""
    return bool(_names(record.say("period"), []))


def _names(said: str, years: list[YearRange], prose: bool = False) -> list[Match]:
    """Every dynasty named; a name of two dynasties is decided by the years.

    In prose a single Chinese character is no name: gold, bright and clear are written with the
    same ones.
    """
    found = []
    for match in find(_entries(), said):
        if (
            prose
            and _ONE_CHARACTER.fullmatch(match.words)
            and said[match.end :][:1] not in {"代", "朝"}
        ):
            continue
        label = match.label
        if label.startswith(_HOMONYM):
            label = _meant(label.removeprefix(_HOMONYM), years)
        found.append(Match(label, match.words, match.start, match.end))
    return found


def _meant(name: str, years: list[YearRange]) -> str:
    table = default_table().dynasty
    fits = [
        label
        for label in table.homonyms[name].means
        if any(r.overlaps(*span) for r in years for span in table.years[label])
    ]
    return fits[0] if len(fits) == 1 else UNDECIDED


def _by_name(said: str, names: list[Match], years: list[YearRange]) -> Reading:
    words = "; ".join(dict.fromkeys(match.words for match in names))
    labels = {match.label for match in names}
    if len(labels) > 1:
        return blank("several", words)
    label = labels.pop()
    if label == UNDECIDED:
        return blank("outside the labels", words)
    if any(_hedged(said, match) for match in names):
        return blank("hedged", words)
    spans = default_table().dynasty.years[label]
    if years and not any(r.widened().overlaps(*span) for r in years for span in spans):
        return blank("fields disagree", words)
    return mapped(label, words)


def _hedged(said: str, match: Match) -> bool:
    """Whether a word of doubt stands close by, in the same part of the sentence."""
    before = re.split("[;,(]", said[max(0, match.start - _NEAR) : match.start])[-1]
    after = re.split("[;,]", said[match.end : match.end + _NEAR])[0]
    return any(p.search(before) or p.search(after) for p in _table_patterns("hedges"))


def _years(record: CatalogueRecord) -> list[YearRange]:
    """The years of the date field; of the period's, or the numbers, where that says none."""
    for role in ("date", "period"):
        found = [r for text in record.words.get(role, ()) for r in year_ranges(text)]
        if found:
            return found
    return [] if record.years is None else [YearRange(*record.years)]


def _by_years(years: list[YearRange], evidence: str) -> Reading:
    found = {_dynasty_of(years_) for years_ in years}
    if len(found) > 1 and None in found:
        # One field is wider than the other; the narrower decides, if they share years at all.
        narrow = min(years, key=lambda r: r.last - r.first)
        if all(narrow.overlaps(r.first, r.last) for r in years):
            found = {_dynasty_of(narrow)}
    if len(found) > 1:
        return blank("fields disagree", evidence)
    label = found.pop()
    return blank("several", evidence) if label is None else mapped(label, evidence)


def _dynasty_of(years: YearRange) -> str | None:
    """The dynasty whose own span these years are, or the only one that they lie in."""
    table = default_table().dynasty
    for label, spans in table.years.items():
        for first, last in spans:
            if abs(years.first - first) <= _SLACK and abs(years.last - last) <= _SLACK:
                return label
    wide = years.widened()
    touched = {
        label
        for label, spans in table.years.items()
        if any(wide.first < last and first < wide.last for first, last in _points(spans, wide))
    }
    others = any(wide.first < last and first < wide.last for first, last in table.other_years)
    if len(touched) != 1 or others:
        return None
    label = touched.pop()
    inside = any(first <= wide.first and wide.last <= last for first, last in table.years[label])
    return label if inside else None


def _points(spans: list[tuple[int, int]], years: YearRange) -> list[tuple[int, int]]:
    """Spans in which a single year counts as lying inside."""
    if years.first != years.last:
        return spans
    return [(first - 1, last + 1) for first, last in spans]
