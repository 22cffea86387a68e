"""What a synthesis leaves: the dataset folder, its HTML page, and tables at a terminal."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from porcelain.dataset import Dataset, write_metadata
from porcelain.files import SETTINGS_FILE, write_json, write_text
from porcelain.images import decode_image
from porcelain.vocabulary import TASKS, TAXONOMY_FILE, Taxonomy, load_taxonomy
from training.generator.synthesis.filtering import Reason, Verdict
from training.generator.synthesis.plan import PLAN_FILE, Plan, labels_of, write_plan
from training.generator.synthesis.results import ManifestRow, SynthesisReport
from training.generator.synthesis.sources import Sources
from training.pages.page import TASK_NAMES, page_templates, thumbnail_uri

MOST_LINES = 40
MOST_SHORTFALLS = 8


def plan_view(plan: Plan) -> RenderableType:
    """How many pictures of what, the rarest kinds first."""
    table = Table(*TASKS, "photographs", "to make", title=f"Plan: {plan.total} pictures")
    for column in table.columns[len(TASKS) :]:
        column.justify = "right"
    for planned in plan.kinds[:MOST_LINES]:
        labels = (escape(label or "–") for label in planned.kind)
        table.add_row(*labels, str(planned.photographs), str(planned.count))
    rest = plan.kinds[MOST_LINES:]
    if not rest:
        return table
    more = sum(planned.count for planned in rest)
    rest_told = f"… and {more} pictures of {len(rest)} more kinds (--dry-run lists all)"
    return Group(table, Text(rest_told))


def outcome_view(report: SynthesisReport) -> RenderableType:
    """What the filter dropped, and what fell short."""
    table = Table("rule", "dropped", "no other rule would have", title="What the filter dropped")
    for column in table.columns[1:]:
        column.justify = "right"
    for reason, count in report.rules.items():
        name = reason.value
        if name == "misread" and count.dropped:
            name += " (" + ", ".join(f"{task} {n}" for task, n in report.misread.items()) + ")"
        table.add_row(name, str(count.dropped), str(count.alone))
    short = sorted(report.shortfalls, key=lambda kind: -kind.shortfall)
    lines = [
        Text(
            f"Short by {kind.shortfall} of {kind.planned}: "
            + " ".join(kind.labels.values())
            + f" ({kind.sampled} sampled, {kind.kept} kept)"
        )
        for kind in short[:MOST_SHORTFALLS]
    ]
    if rest := short[MOST_SHORTFALLS:]:
        missing = sum(kind.shortfall for kind in rest)
        lines.append(Text(f"… and by {missing} of {len(rest)} more kinds (see the report)"))
    if report.photographs_passed is not None:
        share = f"{report.photographs_passed:.0%}"
        lines.append(
            Text(f"For comparison, {share} of held-out photographs pass for their own labels.")
        )
    return Group(table, *lines)


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


IMAGES_FOLDER: Final = "images"
MANIFEST_FILE: Final = "manifest.jsonl"
SYNTHESIS_FILE: Final = "synthesis.json"
REPORT_FILE: Final = "report.html"


def write_output(
    folder: Path,
    sources: Sources,
    plan: Plan,
    verdicts: Sequence[Verdict],
    report: SynthesisReport,
) -> None:
    """Write pictures, rows, plan and reports.

    Args:
        folder: Where to.
        sources: For taxonomy and photographs.
        plan: What was wanted.
        verdicts: Every candidate's.
        report: The counts.
    """
    generator = report.generator.digest
    records, rows = [], []
    for verdict in sorted(verdicts, key=lambda item: item.candidate.name):
        file_name = f"{IMAGES_FOLDER}/{verdict.candidate.name}" if verdict.kept else None
        rows.append(ManifestRow.of(verdict, file_name, report.settings.sampling, generator))
        if file_name is not None:
            (folder / IMAGES_FOLDER).mkdir(exist_ok=True)
            shutil.copyfile(verdict.path, folder / file_name)
            records.append(verdict.candidate.record(file_name, generator))
    write_metadata(folder, records)
    lines = (row.model_dump_json() + "\n" for row in rows)
    write_text(folder / MANIFEST_FILE, "".join(lines))
    write_plan(folder / PLAN_FILE, plan)
    write_text(folder / SYNTHESIS_FILE, report.model_dump_json(indent=2) + "\n")
    write_json(folder / SETTINGS_FILE, report.settings.model_dump(mode="json"))
    taxonomy = sources.bundle.path / TAXONOMY_FILE
    if taxonomy.is_file():
        shutil.copyfile(taxonomy, folder / TAXONOMY_FILE)
    page = render_report(report, verdicts, sources.photographs, load_taxonomy(sources.bundle.path))
    write_text(folder / REPORT_FILE, page)
