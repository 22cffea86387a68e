"""The import as one self-contained HTML page: what was mapped, what is blank, and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from porcelain.images import decode_image
from porcelain.vocabulary import TASK_NAMES, TASKS, Taxonomy, default_taxonomy, task_term
from training.data.museums.results import IMPORTED, ImportReport, reasons_of
from training.pages.page import page_templates, thumbnail_uri

TEMPLATE: Final = "import.html.jinja"
MOST_PICTURES: Final = 48
_SIDE: Final = 176

WHY: Final = {
    "not stated": "The record says nothing of it that the table of phrases knows.",
    "several": "The record names two or more, or years that span them.",
    "hedged": "The cataloguer doubts it: possibly, probably, attributed to.",
    "fields disagree": "Two fields of the record contradict each other.",
    "outside the labels": "Named, and there is no label for it: Han, Sui, Swatow.",
    "undecided": "Named in words that may mean several labels: straw glaze, vessel.",
}


@dataclass(frozen=True)
class Card:
    """One picture on the page: its data URI, title, page, and answer per task."""

    picture: str
    title: str
    page: str
    answers: list[tuple[str, str, str]]


def render_report(report: ImportReport, folder: Path) -> str:
    """The page.

    Args:
        report: What the import did.
        folder: Dataset folder with the pictures.
    """
    template = page_templates("training.data.museums").get_template(TEMPLATE)
    return template.render(
        report=report,
        tasks=TASK_NAMES,
        taxonomy=default_taxonomy(),
        why=WHY,
        unanswered=reasons_of(report.unanswered),
        cards=_cards(report, folder, default_taxonomy()),
    )


def _cards(report: ImportReport, folder: Path, taxonomy: Taxonomy) -> list[Card]:
    """Pictures spread evenly over the imported records."""
    imported = [entry for entry in report.entries if entry.fate == IMPORTED]
    step = max(1, -(-len(imported) // MOST_PICTURES))
    cards = []
    for entry in imported[::step]:
        data = (folder / entry.pictures[0]).read_bytes()
        image = decode_image(data, longest_side=_SIDE).pixels
        answers = []
        for task in TASKS:
            answer = entry.answers[task]
            label = taxonomy.term(task, answer.label).en if answer.label else f"({answer.why})"
            answers.append((task_term(task).en, label, answer.words))
        page = entry.page if entry.page.startswith(("http://", "https://")) else ""
        cards.append(Card(thumbnail_uri(image, _SIDE), entry.title, page, answers))
    return cards
