"""From labels to a prompt: one template, the taxonomy's phrases, unknown labels left out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from porcelain.errors import UserError
from porcelain.vocabulary import TASKS, Taxonomy

DEFAULT_TEMPLATE: Final = (
    "museum photograph of a [{type|ceramic vessel}][, {glaze}][, {kiln}][, {dynasty}]"
)
"""A part in brackets is left out where its label is unknown, or replaced by what follows `|`."""

_PART = re.compile(r"\[([^\[\]{}]*)\{([a-z]+)(?:\|([^{}\[\]]*))?\}([^\[\]{}]*)\]")


def check_template(template: str) -> None:
    """Refuse a template that cannot be filled.

    Raises:
        UserError: Brackets or braces that are not a part `[text {task|default} text]`, an unknown
            task, or no task at all.
    """
    tasks = [match.group(2) for match in _PART.finditer(template)]
    unknown = [task for task in tasks if task not in TASKS]
    if not tasks or unknown or re.search(r"[\[\]{}]", _PART.sub("", template)):
        wrong = f"knows no {unknown[0]!r}" if unknown else "is not of the form"
        raise UserError(
            f"The prompt template {template!r} {wrong}; write parts such as "
            f"'[, {{glaze}}]' for {', '.join(TASKS)}."
        )


def prompt_for(
    labels: Mapping[str, str | None], taxonomy: Taxonomy, template: str = DEFAULT_TEMPLATE
) -> str:
    """The prompt that describes an object with these labels.

    Args:
        labels: Slug per task; a task that is missing, None or without a phrase is unknown.
        taxonomy: Gives each slug its phrase; a slug that it does not know is put into words.
        template: See `DEFAULT_TEMPLATE`.
    """

    def fill(match: re.Match[str]) -> str:
        before, task, default, after = match.groups()
        phrase = _phrase(task, labels.get(task), taxonomy) or default
        return f"{before}{phrase}{after}" if phrase else ""

    return _PART.sub(fill, template).strip()


def _phrase(task: str, label: str | None, taxonomy: Taxonomy) -> str | None:
    if not label:
        return None
    known = label in getattr(taxonomy, task)
    term = taxonomy.term(task, label)
    # An entry without a phrase says that the label has no look of its own, such as `other`.
    return term.phrase if known else term.en
