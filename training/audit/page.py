"""The contact sheet of an audit: one HTML file with the pictures that a person should look at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from porcelain.dataset import Dataset
from training.classifier.evaluation.comparison_page import picture_uri
from training.pages.page import page_templates

if TYPE_CHECKING:
    from training.audit.audit import Audit

TEMPLATE: Final = "audit.html.jinja"
SHOWN: Final = 60
"""Labels, blanks and rare combinations shown, each."""

_SIDE: Final = 200


def render_page(audit: Audit, dataset: Dataset) -> str:
    """One HTML page with no reference to anything outside itself."""
    from training.audit.audit import may_fill

    labels = audit.judgements[:SHOWN]
    blanks = [one for one in audit.blanks if may_fill(one, audit.fill_thresholds)][:SHOWN]
    rare = audit.rare[:SHOWN]
    names = {one.file_name for one in (*labels, *blanks)} | {one.file_name for one in rare}
    return (
        page_templates("training.audit")
        .get_template(TEMPLATE)
        .render(
            summary=audit.summary,
            labels=labels,
            blanks=blanks,
            rare=rare,
            rare_count=len(audit.rare),
            pictures=_thumbnails(names, dataset),
            root=str(dataset.root),
        )
    )


def _thumbnails(names: Iterable[str], dataset: Dataset) -> dict[str, str]:
    return {name: picture_uri(dataset.root / name, _SIDE) for name in sorted(names)}
