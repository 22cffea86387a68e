"""What a synthesis leaves: counts, a row per picture, the dataset folder, a page, and tables."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from porcelain.bundle import Bundle, SamplingDefaults
from porcelain.dataset import Dataset, write_metadata
from porcelain.files import SETTINGS_FILE, write_json, write_text
from porcelain.images import decode_image
from porcelain.vocabulary import (
    TASK_NAMES,
    TASKS,
    TAXONOMY_FILE,
    Taxonomy,
    load_taxonomy,
    task_term,
)
from training.generator.synthesis.checks import Reason
from training.generator.synthesis.controls import Controls
from training.generator.synthesis.copies import CopyThresholds
from training.generator.synthesis.filtering import Verdict
from training.generator.synthesis.plan import PLAN_FILE, Plan, labels_of, write_plan
from training.generator.synthesis.settings import SynthesisSettings
from training.generator.synthesis.sources import Sources
from training.pages.page import page_templates, thumbnail_uri


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelName(_Frozen):
    """Exactly one bundle."""

    name: str
    version: str
    digest: str

    @classmethod
    def of(cls, bundle: Bundle) -> ModelName:
        """The name of a bundle."""
        manifest = bundle.manifest
        return cls(name=manifest.name, version=manifest.version, digest=manifest.digest())


class ManifestRow(_Frozen):
    """One sampled picture, kept or not.

    Attributes:
        file_name: Below the dataset folder; None for what was dropped.
        labels: What it was to show.
        prompt: With `seed`, `steps` and the rest, enough to make it again.
        generator: The digest of the generator's bundle.
        original: The photograph that it is a variation of, if it is one.
        control: The control picture that it follows, below the dataset folder, if it does.
        kept: Whether it is in the dataset.
        reasons: Why not.
        misread: The tasks that the classifier reads otherwise.
        repeated: The kept picture that it repeats.
        scores: What the rules measured: `readings` per task, `nearest` photographs, `tones`.
    """

    file_name: str | None
    labels: dict[str, str]
    attempt: int
    prompt: str
    seed: int
    steps: int
    guidance_scale: float
    width: int
    height: int
    generator: str
    original: str | None = None
    control: str | None = None
    kept: bool
    reasons: list[Reason]
    misread: list[str]
    repeated: str | None
    scores: dict[str, Any]

    @classmethod
    def of(
        cls,
        verdict: Verdict,
        file_name: str | None,
        sampling: SamplingDefaults,
        generator: str,
        control: str | None,
    ) -> ManifestRow:
        """The row of one candidate."""
        candidate = verdict.candidate
        return cls(
            file_name=file_name,
            labels=labels_of(candidate.kind),
            attempt=candidate.attempt,
            prompt=candidate.prompt,
            seed=candidate.seed,
            **sampling.model_dump(),
            original=candidate.original,
            control=control,
            generator=generator,
            kept=verdict.kept,
            reasons=list(verdict.reasons),
            misread=list(verdict.misread),
            repeated=verdict.repeated,
            scores={
                "readings": {task: asdict(item) for task, item in verdict.readings.items()},
                "nearest": None if verdict.nearest is None else asdict(verdict.nearest),
                "tones": asdict(verdict.tones),
            },
        )


class RuleCount(_Frozen):
    """Pictures that a rule drops, and those that no other rule would have dropped."""

    dropped: int
    alone: int


class KindCount(_Frozen):
    """One line of the plan and what became of it."""

    labels: dict[str, str]
    photographs: int
    planned: int
    sampled: int
    kept: int

    @property
    def shortfall(self) -> int:
        """Pictures that are missing although every attempt was used up."""
        return self.planned - self.kept


class SynthesisReport(_Frozen):
    """Saved as `synthesis.json`.

    Attributes:
        generator: What made the pictures.
        classifier: What read them; None where there was none.
        classifier_graph: The graph of it that did.
        data_digest: Digest of the photographs; None where none were given.
        settings: Resolved.
        planned: Pictures wanted.
        sampled: Pictures made.
        kept: Pictures in the dataset.
        kinds: The plan, line by line.
        rules: Per reason, how many it dropped.
        misread: Per task, how many pictures the classifier read otherwise.
        photographs_passed: The share of photographs of validation and test whose labels the
            classifier reads by the same thresholds: what a perfect generator's pictures would
            pass by. None without such photographs or a classifier.
        copy_limits: From where a picture counts as a copy.
        warnings: What a reader must know, such as rules that could not be applied.
    """

    generator: ModelName
    classifier: ModelName | None
    classifier_graph: str | None
    data_digest: str | None
    settings: SynthesisSettings
    planned: int
    sampled: int
    kept: int
    kinds: list[KindCount]
    rules: dict[Reason, RuleCount]
    misread: dict[str, int]
    photographs_passed: float | None
    copy_limits: CopyThresholds
    warnings: list[str]

    @property
    def shortfalls(self) -> list[KindCount]:
        """The lines of the plan that were not met."""
        return [kind for kind in self.kinds if kind.shortfall]


def count_rules(verdicts: Iterable[Verdict]) -> dict[Reason, RuleCount]:
    """Per reason the pictures that it drops, alone or with others."""
    dropped, alone = Counter[Reason](), Counter[Reason]()
    for verdict in verdicts:
        dropped.update(verdict.reasons)
        if len(verdict.reasons) == 1:
            alone.update(verdict.reasons)
    return {reason: RuleCount(dropped=dropped[reason], alone=alone[reason]) for reason in Reason}


def count_kinds(plan: Plan, verdicts: Sequence[Verdict]) -> list[KindCount]:
    """What became of every line of the plan."""
    sampled = Counter(verdict.candidate.kind for verdict in verdicts)
    kept = Counter(verdict.candidate.kind for verdict in verdicts if verdict.kept)
    return [
        KindCount(
            labels=labels_of(planned.kind),
            photographs=planned.photographs,
            planned=planned.count,
            sampled=sampled[planned.kind],
            kept=kept[planned.kind],
        )
        for planned in plan.kinds
    ]


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
        name: Name of its file.
        picture: Data URI.
        title: Labels of the picture for people.
        prompt: What the generator was asked for.
        readings: Task, what was read, its probability, and whether it is accepted.
        planned: Data URI of the control picture that it was to follow, if it was.
        beside: Data URI of the photograph that it copies, if it does.
        note: What else is to be said.
    """

    name: str
    picture: str
    title: str
    prompt: str
    readings: list[tuple[str, str, float, bool]]
    planned: str | None
    beside: str | None
    note: str


def render_report(
    report: SynthesisReport,
    verdicts: Sequence[Verdict],
    photographs: Dataset | None,
    taxonomy: Taxonomy,
    controls: Controls | None = None,
) -> str:
    """One HTML page with no reference to anything outside itself.

    Args:
        report: The counts.
        verdicts: Every candidate's; their files are read.
        photographs: Where copied originals are read; None where there are none.
        taxonomy: Names for people.
        controls: Where planned forms are read; None where none were.
    """
    kept = _every_kind_first(verdict for verdict in verdicts if verdict.kept)
    dropped = {
        reason: [v for v in verdicts if reason in v.reasons][:MOST_DROPPED] for reason in Reason
    }

    def cards(chosen: Iterable[Verdict]) -> list[Card]:
        return [_card(verdict, photographs, taxonomy, controls) for verdict in chosen]

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


def _card(
    verdict: Verdict, photographs: Dataset | None, taxonomy: Taxonomy, controls: Controls | None
) -> Card:
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
                task_term(task).en,
                taxonomy.term(task, reading.read).en,
                reading.probability,
                task not in verdict.misread,
            )
            for task, reading in verdict.readings.items()
        ],
        planned=None if controls is None else _thumbnail(controls.path(verdict.candidate.name)),
        beside=beside,
        note=note,
    )


def _title(labels: dict[str, str], taxonomy: Taxonomy) -> str:
    return " · ".join(taxonomy.term(task, label).en for task, label in labels.items())


def _thumbnail(path: Path) -> str:
    return thumbnail_uri(decode_image(path.read_bytes(), longest_side=_SIDE).pixels, _SIDE)


IMAGES_FOLDER: Final = "images"
CONTROLS_FOLDER: Final = "controls"
MANIFEST_FILE: Final = "manifest.jsonl"
SYNTHESIS_FILE: Final = "synthesis.json"
REPORT_FILE: Final = "report.html"


def write_output(
    folder: Path,
    sources: Sources,
    plan: Plan,
    verdicts: Sequence[Verdict],
    report: SynthesisReport,
    controls: Controls | None = None,
) -> None:
    """Write pictures, rows, plan and reports.

    Args:
        folder: Where to.
        sources: For taxonomy and photographs.
        plan: What was wanted.
        verdicts: Every candidate's.
        report: The counts.
        controls: What steered the pictures; None where nothing did.
    """
    generator = report.generator.digest
    records, rows = [], []
    for verdict in sorted(verdicts, key=lambda item: item.candidate.name):
        file_name = f"{IMAGES_FOLDER}/{verdict.candidate.name}" if verdict.kept else None
        control = None
        if controls is not None:
            control = f"{CONTROLS_FOLDER}/{verdict.candidate.name}"
            (folder / CONTROLS_FOLDER).mkdir(exist_ok=True)
            shutil.copyfile(controls.path(verdict.candidate.name), folder / control)
        sampling = report.settings.sampling
        rows.append(ManifestRow.of(verdict, file_name, sampling, generator, control))
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
    names = load_taxonomy(sources.bundle.path)
    page = render_report(report, verdicts, sources.photographs, names, controls)
    write_text(folder / REPORT_FILE, page)
