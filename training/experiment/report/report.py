"""`porcelain experiment report`: from an experiment's folder to a page one can act on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from porcelain.errors import UserError
from porcelain.files import atomic_folder, check_free, write_text
from training.experiment.records import read_results
from training.experiment.report.page import render_html, render_markdown, sections_of
from training.experiment.statistics.analysis import AnalysisSettings, analyse
from training.experiment.statistics.results import ExperimentReport

HTML_FILE: Final = "report.html"
MARKDOWN_FILE: Final = "report.md"
JSON_FILE: Final = "report.json"


def report_experiment(
    folders: Sequence[Path],
    out: Path,
    settings: AnalysisSettings | None = None,
    *,
    data: Path | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int, int, str], None] | None = None,
) -> ExperimentReport:
    """Analyse an experiment and write `report.html`, `report.md` and `report.json`.

    Args:
        folders: The experiment's folder, and those of further shards.
        out: Folder to write.
        settings: How much is resampled.
        data: Where its dataset folder is now; by default as the experiment named it.
        overwrite: Replace what is at `out`.
        on_progress: Called with tasks done, in all, and the name of the next.

    Raises:
        UserError: `out` is taken, nothing is finished yet, or the folders do not belong together.
        DatasetError: A folder is no experiment, or damaged.
    """
    check_free(out, overwrite, folders)
    results = read_results(*folders)
    experiment = results.experiment
    pictures = data or Path(experiment.data)
    if data is not None and not data.is_dir():
        raise UserError(f"--data {data} is not a folder.")
    report = analyse(results, settings, on_progress)
    if not pictures.is_dir():
        note = f"The dataset folder {pictures} was not found, so no pictures are shown; see --data."
        report = report.model_copy(update={"notes": [*report.notes, note]})
    sections = sections_of(
        report, experiment.arms, experiment.taxonomy, pictures if pictures.is_dir() else None
    )
    with atomic_folder(out, overwrite=overwrite) as folder:
        write_text(folder / JSON_FILE, report.model_dump_json(indent=2) + "\n")
        write_text(folder / MARKDOWN_FILE, render_markdown(report, sections))
        write_text(folder / HTML_FILE, render_html(report, sections))
    return report
