"""What a cell of a table says about a task: a name of a label, words that mean one, or nothing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final

from porcelain.dataset import SLUG
from porcelain.vocabulary import TASKS, Taxonomy
from training.data.museums.dynasty import read_dynasty
from training.data.museums.form import read_type
from training.data.museums.glaze import read_glaze
from training.data.museums.kiln import read_kiln
from training.data.museums.phrases import default_table
from training.data.museums.reading import Reading, blank, mapped
from training.data.museums.record import CatalogueRecord
from training.data.museums.text import normalise

NAMED: Final = "a name of the label"
_WORDS_FOR_EMPTY: Final = """
nan none null nil n/a na n.a. n.a #n/a <na> nat - -- --- – — _ . /
"""
_WORDS_FOR_UNKNOWN: Final = """
unknown unk undefined undetermined unspecified uncertain unidentified tbd tbc n.d. ? ?? ??? x
unbekannt inconnu 未知 不詳 不详 未詳 未详 不明 無 无 暂无 暫無 待定 待考 空
"""
_UNKNOWN: Final = frozenset(_WORDS_FOR_UNKNOWN.split())
BLANK_LIKE: Final = _UNKNOWN.union(_WORDS_FOR_EMPTY.split())
"""Cells that stand for "we do not know", which a dataset folder says with a blank."""

_PARTS: Final = re.compile(r"[,;/|、，；()（）]")
_DOUBT: Final = re.compile(
    r"[?？疑仿]|可能|或|possib|probab|perhaps|maybe|likely|attributed|\b(or|style|type|imitat\w+)\b",
    re.IGNORECASE,
)
_RULES: Final = {
    "dynasty": ("period", read_dynasty),
    "glaze": ("material", read_glaze),
    "kiln": ("material", read_kiln),
    "type": ("title", read_type),
}
"""Per task with a rule, the field of a museum record that a label column is read as."""


def looks_blank(text: str) -> bool:
    """Whether a cell is empty or stands for "not known"."""
    return not text.strip() or unicodedata.normalize("NFKC", text).strip().casefold() in BLANK_LIKE


def says_unknown(text: str) -> bool:
    """Whether a cell says that nobody knows, which is more than that nothing was written."""
    return unicodedata.normalize("NFKC", text).strip().casefold() in _UNKNOWN


def plain_label(text: str) -> str:
    """A label without what spellings vary: case, width, quotes, blanks, hyphens, characters."""
    spelled = str.maketrans(default_table().characters)
    text = normalise(unicodedata.normalize("NFKC", text)).translate(spelled)
    return re.sub(r"[\s_\-]+", "_", text.strip(" \t.'_-"))


def slug_of(text: str) -> str | None:
    """A text as a slug of its own (`Famille Rose`: `famille_rose`); None where it is no Latin."""
    slug = re.sub(r"[^a-z0-9]+", "_", plain_label(text)).strip("_")
    return slug if SLUG.fullmatch(slug) and not re.search("[\u3400-\u9fff]", text) else None


class LabelNames:
    """The names of labels: slugs, and what the taxonomy calls them in English and Chinese."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        """Collect every name of every label."""
        self._labels: dict[str, dict[str, str]] = {}
        for task in TASKS:
            names: dict[str, str] = {}
            for label, term in getattr(taxonomy, task).items():
                for name in (label, *_texts(term.model_dump(exclude={"phrase"}).values())):
                    names.setdefault(plain_label(name), label)
                    short = re.sub("[窯釉]$", "", plain_label(name))
                    if len(short) > 1:  # 龍泉 is Longquan, but 定 may be anything
                        names.setdefault(short, label)
            self._labels[task] = names

    def label(self, task: str, text: str) -> str | None:
        """The label of `task` that `text` names in any spelling; None where it names none."""
        return self._labels[task].get(plain_label(text))

    def tasks(self, text: str) -> list[str]:
        """The tasks of which `text` names a label."""
        return [task for task in TASKS if self.label(task, text)]

    def read(self, task: str, text: str, others: str = "") -> Reading:
        """What a cell of a label column says.

        Args:
            task: The task that the column answers.
            text: The cell.
            others: What the row says elsewhere, for rules that depend on the body.
        """
        if looks_blank(text):
            return blank("not stated", text)
        named = self.label(task, text)
        if named is not None:
            return mapped(named, NAMED)
        field, _ = _RULES.get(task, ("", None))
        reading = self.read_record(task, {field: text, "category": others}) if field else None
        if reading is not None and (reading.label or reading.why != "not stated"):
            return reading
        # "Bowl, polychrome": a part of the cell that is a name, where the rules know no word of it.
        found = self.parts(task, text)
        if len(found) == 1:
            return mapped(*next(iter(found.items())))
        return blank("several" if found else "not stated", text)

    def parts(self, task: str, text: str) -> dict[str, str]:
        """The labels that parts of a text name, each with its words; none where it doubts them."""
        if _DOUBT.search(text):
            return {}
        named = ((self.label(task, part), part.strip()) for part in _PARTS.split(text))
        return {label: part for label, part in named if label is not None}

    def read_record(self, task: str, fields: Mapping[str, str]) -> Reading:
        """What the rules for museum records say of texts under the names of their fields."""
        if task not in _RULES:
            return blank("not stated")
        spelled = str.maketrans(default_table().characters)
        words = {
            role: (normalise(text).translate(spelled),) for role, text in fields.items() if text
        }
        record = CatalogueRecord("", "", "", words, None, (), None, "", "", "")
        return _RULES[task][1](record)


def _texts(values: Iterable[object]) -> Iterable[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list | tuple):
            yield from _texts(value)
        elif isinstance(value, dict):
            yield from _texts(value.values())
