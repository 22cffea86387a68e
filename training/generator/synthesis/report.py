"""The synthesis as one self-contained HTML page: counts per rule, and pictures kept and dropped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from porcelain.dataset import Dataset
from porcelain.images import decode_image
from porcelain.vocabulary import Taxonomy
from training.generator.synthesis.filtering import Reason, Verdict
from training.generator.synthesis.kinds import labels_of
from training.generator.synthesis.results import SynthesisReport
from training.pages.page import TASK_NAMES, page_templates, thumbnail_uri

TEMPLATE: Final = "synthesis.html.jinja"
MOST_KEPT: Final = 60
MOST_DROPPED: Final = 16
"""Pictures shown per reason."""

_SIDE: Final = 176

RULES: Final = {
    Reason.MISREAD: "The classifier reads another label than planned, or is not sure enough of it.",
    Reason.COPY: "Too like a photograph: in fine detail, by perceptual hash, or in features.",
    Reason.REPEAT: "Too like a picture that was kept before it.",
    Reason.BLANK: "Shows nothing.",
    Reason.NOISE: "Neighbouring pixels have nothing to do with each other.",
    Reason.SATURATED: "Colours burnt out, or pure black and white.",
}


@dataclass(frozen=True)
class Card:
    """One picture on the page.

    Attributes:
        name: Of its file.
        picture: Data URI.
        title: Its labels for people.
        prompt: What the generator was asked for.
        readings: Task, what was read, its probability, and whether it is accepted.
        beside: Data URI of the photograph that it copies, if it does.
        note: What else is to be said.
    """

    name: str
    picture: str
    title: str
    prompt: str
    readings: list[tuple[str, str, float, bool]]
    beside: str | None
    note: str


def render_report(
    report: SynthesisReport,
    verdicts: Sequence[Verdict],
    photographs: Dataset | None,
    taxonomy: Taxonomy,
) -> str:
    """One HTML page with no reference to anything outside itself.

    Args:
        report: The counts.
        verdicts: Every candidate's; their files are read.
        photographs: Where copied originals are read; None where there are none.
        taxonomy: Names for people.
    """
    kept = _every_kind_first(verdict for verdict in verdicts if verdict.kept)
    dropped = {
        reason: [v for v in verdicts if reason in v.reasons][:MOST_DROPPED] for reason in Reason
    }

    def cards(chosen: Iterable[Verdict]) -> list[Card]:
        return [_card(verdict, photographs, taxonomy) for verdict in chosen]

    return (
        page_templates("training.generator.synthesis")
        .get_template(TEMPLATE)
        .render(
            report=report,
            rules=RULES,
            tasks=TASK_NAMES,
            names=[_title(kind.labels, taxonomy) for kind in report.kinds],
            kept=cards(kept[:MOST_KEPT]),
            dropped={reason: cards(chosen) for reason, chosen in dropped.items() if chosen},
        )
    )


def _every_kind_first(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """One of each kind, then the second of each, and so on."""
    seen: defaultdict[object, int] = defaultdict(int)
    ranked = []
    for verdict in verdicts:
        ranked.append((seen[verdict.candidate.kind], verdict))
        seen[verdict.candidate.kind] += 1
    return [verdict for _, verdict in sorted(ranked, key=lambda pair: pair[0])]


def _card(verdict: Verdict, photographs: Dataset | None, taxonomy: Taxonomy) -> Card:
    copied = None if verdict.nearest is None else verdict.nearest.copied
    note = ""
    if copied is not None:
        note = f"copies {copied}"
    elif verdict.repeated is not None:
        note = f"repeats {verdict.repeated}"
    beside = None
    if copied is not None and photographs is not None:
        beside = _thumbnail(photographs.root / copied)
    return Card(
        name=verdict.candidate.name,
        picture=_thumbnail(verdict.path),
        title=_title(labels_of(verdict.candidate.kind), taxonomy),
        prompt=verdict.candidate.prompt,
        readings=[
            (
                TASK_NAMES[task].en,
                taxonomy.term(task, reading.read).en,
                reading.probability,
                task not in verdict.misread,
            )
            for task, reading in verdict.readings.items()
        ],
        beside=beside,
        note=note,
    )


def _title(labels: dict[str, str], taxonomy: Taxonomy) -> str:
    return " · ".join(taxonomy.term(task, label).en for task, label in labels.items())


def _thumbnail(path: Path) -> str:
    return thumbnail_uri(decode_image(path.read_bytes(), longest_side=_SIDE).pixels, _SIDE)
