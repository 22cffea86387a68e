"""Values out of nested records, by the paths and templates of `museums.yaml`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

_SLOT: Final = re.compile(r"\{([^{}]+)\}")
_FILTERS: Final[Mapping[str, Callable[[str], str]]] = {
    "slashes": lambda text: text.replace("\\", "/"),
    "stem": lambda text: re.sub(r"\.jpe?g$", "", text, flags=re.IGNORECASE),
}


def values(record: Any, path: str) -> list[Any]:  # noqa: ANN401 - any JSON value
    """Every value at `path`, in order; nulls and what is not there are left out.

    Args:
        record: Parsed JSON.
        path: Keys with dots between them; `[]` after a key goes into each element of its list. A
            single value where a list is expected counts as a list of one.
    """
    found = [record]
    for step in path.replace("[]", ".[]").strip(".").split("."):
        found = [value for item in found for value in _step(item, step) if value is not None]
    return found


def _step(item: Any, step: str) -> Iterator[Any]:  # noqa: ANN401 - any JSON value
    if step == "[]":
        yield from item if isinstance(item, list) else [item]
    elif isinstance(item, dict):
        yield item.get(step)


def texts(record: Any, path: str) -> list[str]:  # noqa: ANN401 - any JSON value
    """The values at `path` as texts without outer blanks; empty ones are left out."""
    found = (str(value).strip() for value in values(record, path) if not isinstance(value, dict))
    return [text for text in found if text]


def fill(template: str, record: Any) -> list[str]:  # noqa: ANN401 - any JSON value
    """The texts that a template makes of a record: one, or one per element of a list in a slot.

    A template without slots is a path. Nothing is made where a slot finds nothing.
    """
    slots = list(_SLOT.finditer(template))
    if not slots:
        return texts(record, template)
    made = [template]
    for slot in slots:
        path, _, name = slot[1].partition("|")
        filled = [_FILTERS[name](text) if name else text for text in texts(record, path)]
        made = [text.replace(slot[0], value) for text in made for value in filled]
    return made
