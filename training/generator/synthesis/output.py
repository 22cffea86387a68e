"""The dataset folder that a synthesis leaves."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from porcelain.dataset import write_metadata
from porcelain.files import SETTINGS_FILE, write_json, write_text
from porcelain.vocabulary import TAXONOMY_FILE, load_taxonomy
from training.generator.synthesis.filtering import Verdict
from training.generator.synthesis.plan import PLAN_FILE, Plan, write_plan
from training.generator.synthesis.report import render_report
from training.generator.synthesis.results import ManifestRow, SynthesisReport
from training.generator.synthesis.sources import Sources

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
