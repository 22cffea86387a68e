"""Catalogue text made comparable, and phrases of the table made into patterns."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_DASHES: Final = re.compile("[\u2010-\u2015\u2212\uff0d]")
_APOSTROPHES: Final = re.compile("[\u2018\u2019\u02bc\u02bb\u0060\u00b4]")
_QUOTES: Final = re.compile('["\u201c\u201d]+')
_BLANKS: Final = re.compile(r"\s+")
_RULED: Final = re.compile(r"[\s\-]{4,}")
_REPEATED: Final = re.compile(r"([^\w\s])\1{3,}")
MOST_CHARACTERS: Final = 4000
"""Of one text: two thousand patterns are looked for in each."""
_CLASSES: Final = re.compile(r"(\[[^\]]*\])")


def normalise(text: str) -> str:
    """Lower case, without accents; one kind of dash, apostrophe and blank; no double quotes.

    Chinese text keeps its characters and punctuation. Rows of one sign, as they are drawn with
    dashes or dots, become one. What is beyond `MOST_CHARACTERS` is left out.
    """
    text = _RULED.sub(" - ", _REPEATED.sub(r"\1", text))[:MOST_CHARACTERS]
    text = _APOSTROPHES.sub("'", _DASHES.sub("-", text))
    decomposed = unicodedata.normalize("NFD", text)
    bare = "".join(c for c in decomposed if not unicodedata.combining(c))
    return _BLANKS.sub(" ", _QUOTES.sub("", unicodedata.normalize("NFC", bare))).strip().lower()


def phrase_pattern(phrase: str) -> re.Pattern[str]:
    """The pattern of a phrase of the table (see the head of `phrases.yaml`).

    Raises:
        re.error: The phrase is not a regular expression.
    """
    parts = _CLASSES.split(phrase)  # what stands in [ ] is kept as it is
    parts[::2] = [
        part.replace("'", "'?").replace(" ?", r"[\s\-]*").replace(" ", r"[\s\-]+")
        for part in parts[::2]
    ]
    body = "".join(parts)
    latin = bool(re.search("[a-z]", re.sub(r"\(\?|\\[a-z]|\[[^]]*\]|\{[^}]*\}", "", phrase)))
    if not latin:
        return re.compile(body)
    return re.compile(rf"(?<![a-z0-9])(?:{body})(?:e?s)?(?![a-z0-9])")


def cut(text: str, patterns: list[re.Pattern[str]]) -> str:
    """`text` with blanks in place of whatever the patterns find."""
    for pattern in patterns:
        text = pattern.sub(lambda found: " " * len(found[0]), text)
    return text
