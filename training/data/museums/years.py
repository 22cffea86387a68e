"""Years out of catalogue dates: "1736–95", "late 1300s", "16th-17th century", "c. 1300"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

CIRCA: Final = 10  # years either way

_BEFORE: Final = r"(?:b\.? ?c\.?(?: ?e\.?)?)"
_ERA: Final = rf"(?:\s*(?:{_BEFORE}|a\.? ?d\.?|c\.? ?e\.?)(?![a-z]))?"
_PART: Final = (
    r"(early|mid(?:dle)?|late|first half of(?: the)?|second half of(?: the)?|end of|beginning of)"
)
_CENTURY: Final = re.compile(
    rf"(?:{_PART}[\s-]+(?:to (late|mid(?:dle)?)[\s-]+)?)?(\d{{1,2}})(?:st|nd|rd|th)"
    rf"(?:\s*(?:century|centuries|c\.))?\s*(?:-|to|or|and|/)?\s*"
    rf"(?:{_PART}?[\s-]*(?:of )?(\d{{1,2}})(?:st|nd|rd|th))?\s*(?:century|centuries|c\.)({_ERA})"
)
_DECADES: Final = re.compile(
    rf"(?:{_PART}\s+)?(\d{{1,4}}00)s(?:\s*(?:-|to)\s*(?:{_PART}\s+)?(\d{{1,4}}00s|\d{{1,4}}))?({_ERA})"
)
_RANGE: Final = re.compile(
    rf"(?<![\d.])(\d{{1,4}})({_ERA})\s*(?:-|to|/)\s*(?:about |ca?\.? ?|a\.?d\.? ?)?"
    rf"(\d{{1,4}})({_ERA})(?![\d.]*\d)"
)
_SINGLE: Final = re.compile(rf"(?<![\d.])(\d{{3,4}})(?!\d|00s|s)({_ERA})")
_CHINESE: Final = re.compile(r"(\d{1,2})世紀")
_ABOUT: Final = re.compile(r"\b(?:c|ca|circa|about|around|approximately)\b\.?")


@dataclass(frozen=True)
class YearRange:
    """First and last year, negative before our era; `circa` where the catalogue says about."""

    first: int
    last: int
    circa: bool = False

    def widened(self) -> YearRange:
        """With the slack that "about" means."""
        return YearRange(self.first - CIRCA, self.last + CIRCA) if self.circa else self

    def overlaps(self, first: int, last: int) -> bool:
        """Whether any year is shared with a span."""
        return self.first <= last and first <= self.last


def year_ranges(text: str) -> list[YearRange]:
    """Every date in a normalised text: centuries, then decades, ranges and single years."""
    circa = bool(_ABOUT.search(text))
    found: list[YearRange] = []

    def take(pattern: re.Pattern[str], text: str) -> str:
        for match in pattern.finditer(text):
            made = _make(pattern, match)
            if made is not None:
                found.append(YearRange(*made, circa))
        return pattern.sub(" ", text)

    for pattern in (_CENTURY, _CHINESE, _DECADES, _RANGE, _SINGLE):
        text = take(pattern, text)
    return found


def _make(pattern: re.Pattern[str], match: re.Match[str]) -> tuple[int, int] | None:
    if pattern is _CENTURY:
        return _centuries(match)
    if pattern is _CHINESE:
        return (int(match[1]) - 1) * 100, int(match[1]) * 100 - 1
    if pattern is _DECADES:
        return _hundreds(match)
    if pattern is _SINGLE:
        year = -int(match[1]) if _is_before(match[2]) else int(match[1])
        return year, year
    return _range(match)


def _centuries(match: re.Match[str]) -> tuple[int, int]:
    part, until, first, other, second, era = match.groups()
    start = _within((int(first) - 1) * 100, part)
    end = _within((int(second or first) - 1) * 100, other if second else until or part)
    if era and _is_before(era):
        return -int(first) * 100, -(int(second or first) - 1) * 100 - 1
    return start[0], end[1]


def _hundreds(match: re.Match[str]) -> tuple[int, int]:
    part, first, other, second, era = match.groups()
    start = _within(int(first), part)
    if era and _is_before(era):
        return -int(first) - 99, -int(first)
    if second is None:
        return start
    end = int(second.rstrip("s"))
    return start[0], _within(end, other)[1] if second.endswith("s") else end


def _range(match: re.Match[str]) -> tuple[int, int] | None:
    first, era, second, last_era = int(match[1]), match[2], match[3], match[4]
    last = int(second)
    if _is_before(last_era):
        return -first, -last
    if _is_before(era):
        return -first, last
    if last < first and len(second) < len(match[1]):  # 1736-95
        last = int(match[1][: -len(second)] + second)
    if last < first or (first < 100 and last < 100):  # 9-12: no years
        return None
    return first, last


def _within(start: int, part: str | None) -> tuple[int, int]:
    """The part of a century that begins at `start`; "mid" is its middle half."""
    if part is None:
        return start, start + 99
    if part.startswith(("early", "first", "beginning")):
        return start, start + 50
    if part.startswith(("late", "second", "end")):
        return start + 50, start + 99
    return start + 25, start + 75


def _is_before(era: str | None) -> bool:
    return bool(era and re.search(_BEFORE, era))
