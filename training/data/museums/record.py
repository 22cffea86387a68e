"""One catalogue record in the same words, whichever museum it comes from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from training.data.museums.museum import ROLES, Museum
from training.data.museums.paths import fill, texts
from training.data.museums.phrases import default_table
from training.data.museums.text import normalise


@dataclass(frozen=True)
class CatalogueRecord:
    """What a museum says of one object.

    Attributes:
        museum: Name in the table of museums.
        id: The museum's own id of the record.
        object: What parts of one object share: the accession number without the part.
        words: Normalised texts per role (title, form, material, period, date, place, maker,
            category, notes).
        years: First and last year as numbers, where the museum gives them.
        pictures: Addresses, the best first.
        license: Open licence of the pictures (SPDX or PDM-1.0); None where none is stated.
        credit: Credit line.
        page: The record's page, for people.
        title: As the museum spells it.
    """

    museum: str
    id: str
    object: str
    words: dict[str, tuple[str, ...]]
    years: tuple[int, int] | None
    pictures: tuple[str, ...]
    license: str | None
    credit: str
    page: str
    title: str

    def say(self, *roles: str) -> str:
        """All texts of these roles, with `; ` between them."""
        return "; ".join(text for role in roles for text in self.words.get(role, ()))


def read_record(name: str, museum: Museum, raw: dict[str, Any]) -> CatalogueRecord | None:
    """The record, or None where it has no id.

    Args:
        name: The museum's name in the table.
        museum: Its entry.
        raw: The record as the museum writes it, parsed.
    """
    for field, other in museum.alternatives.items():
        if raw.get(field) is None and other in raw:
            raw = {**raw, field: raw[other]}
    identity = _first(raw, museum.id)
    if museum.id_stem is not None:
        stem = re.search(museum.id_stem, identity)
        identity = stem[0] if stem else identity
    if not identity:
        return None
    raw = {**raw, "id": identity} if museum.id == "id" else raw
    number = _first(raw, museum.object.path)
    stem = re.search(museum.object.stem, number)
    words: dict[str, tuple[str, ...]] = {
        role: _words(raw, museum.fields[role]) for role in ROLES if role in museum.fields
    }
    if museum.country:
        words["place"] = (*words.get("place", ()), museum.country.lower())
    return CatalogueRecord(
        museum=name,
        id=identity,
        object=(stem[0] if stem else number) or identity,
        words=words,
        years=_years(raw, museum),
        pictures=_pictures(raw, museum),
        license=_license(raw, museum),
        credit=museum.credit_text or _first(raw, museum.credit),
        page=next(iter(fill(museum.page, raw)), "") if museum.page else "",
        title=_first(raw, museum.fields["title"][0]),
    )


def _first(raw: dict[str, Any], path: str) -> str:
    return next(iter(texts(raw, path)), "") if path else ""


def _words(raw: dict[str, Any], paths: list[str]) -> tuple[str, ...]:
    spelled = str.maketrans(default_table().characters)
    found = [normalise(text).translate(spelled) for path in paths for text in texts(raw, path)]
    return tuple(dict.fromkeys(text for text in found if text))


def _years(raw: dict[str, Any], museum: Museum) -> tuple[int, int] | None:
    """Numeric years; a pair of zeros stands for "no date"."""
    found = [text for path in museum.fields.get("years", []) for text in texts(raw, path)]
    if len(found) != 2 or not all(re.fullmatch(r"-?\d{1,6}", text) for text in found):
        return None
    first, last = (int(text) for text in found)
    return None if first == last == 0 or first > last else (first, last)


def _pictures(raw: dict[str, Any], museum: Museum) -> tuple[str, ...]:
    found = [address for template in museum.pictures for address in fill(template, raw)]
    addresses = [a for a in dict.fromkeys(found) if a.startswith(("http://", "https://"))]
    return tuple(addresses[:1] if museum.one_picture else addresses)


def _license(raw: dict[str, Any], museum: Museum) -> str | None:
    if museum.license:
        return museum.license
    for path, licenses in museum.open.items():
        found = texts(raw, path)
        # Several pictures may come with several rights: all of them must be open.
        if found and all(text in licenses for text in found):
            return licenses[found[0]]
    return None
