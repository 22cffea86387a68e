"""The import: records read, chosen and labelled, their pictures fetched, a dataset folder made."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

from porcelain import __version__
from porcelain.dataset import Record, write_metadata
from porcelain.errors import DatasetError
from porcelain.files import atomic_folder, write_json, write_text
from porcelain.vocabulary import TASKS
from training.data.museums.cache import Cache, default_cache
from training.data.museums.fetch import Fetcher
from training.data.museums.harvest import harvest, read_files
from training.data.museums.labels import Catalogued, catalogue
from training.data.museums.manners import Manners
from training.data.museums.museum import Museum, museum
from training.data.museums.pictures import Failure, Fetched, fetch_pictures
from training.data.museums.record import read_record
from training.data.museums.report import render_report
from training.data.museums.results import (
    IMPORTED,
    Entry,
    ImportReport,
    NoPicture,
    entry_of,
    reasons_of,
    summarise,
)
from training.data.museums.settings import ImportSettings

REPORT_JSON: Final = "import.json"
REPORT_HTML: Final = "import.html"
READING: Final = "Reading the catalogue"
FETCHING: Final = "Fetching pictures"

Progress = Callable[[str, int, int, str], None]


def import_museum(
    settings: ImportSettings,
    out: Path,
    *,
    overwrite: bool = False,
    cache: Path | None = None,
    on_progress: Progress | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> ImportReport:
    """Make a dataset folder of a museum's Chinese ceramics with openly licensed pictures.

    What is fetched is kept in the cache, so that an interrupted import goes on where it was.

    Args:
        settings: What to import.
        out: Dataset folder to write, with `import.json` and `import.html` beside the pictures.
        overwrite: Replace what is at `out`.
        cache: Folder of downloads; the user's cache folder if None.
        on_progress: Called with the part, how many are done, of how many, and a note.
        sleep: Waits so many seconds.

    Raises:
        UserError: The museum is unknown, does not answer or wants a key; or `out` is taken.
        DatasetError: No picture was to be had.
    """
    entry = museum(settings.museum)
    tell = on_progress or (lambda part, done, total, note: None)
    folder = (cache or default_cache()) / settings.museum
    saved = settings.model_dump(mode="json", exclude_none=True)
    with (
        atomic_folder(out, settings=saved, overwrite=overwrite) as work,
        Fetcher(_manners(entry, settings), Cache(folder), sleep) as fetcher,
    ):
        unanswered: list[NoPicture] = []
        catalogued = list(_catalogued(entry, settings, fetcher, tell, unanswered))
        report, rows = _collect(entry, settings, catalogued, fetcher, work, tell)
        report = report.model_copy(update={"unanswered": unanswered})
        if not rows:
            raise DatasetError(_nothing(report))
        write_metadata(work, rows)
        write_json(work / REPORT_JSON, report.model_dump(mode="json"))
        write_text(work / REPORT_HTML, render_report(report, work))
    return report


def _manners(entry: Museum, settings: ImportSettings) -> Manners:
    agent = f"porcelain/{__version__} (museum import for research)"
    if settings.contact:
        agent = f"porcelain/{__version__} (museum import for research; {settings.contact})"
    headers = {name: value.replace("{agent}", agent) for name, value in entry.headers.items()}
    return Manners(agent, settings.rate or entry.requests_per_second, headers)


def _catalogued(
    entry: Museum,
    settings: ImportSettings,
    fetcher: Fetcher,
    tell: Progress,
    unanswered: list[NoPicture],
) -> Iterator[Catalogued]:
    """Every record once, read by the rules, until as many as asked for can be imported.

    Addresses of records that the museum lists and does not give are added to `unanswered`.
    """

    def missing(url: str, why: str) -> None:
        unanswered.append(NoPicture(url=url, why=why))

    if settings.records is not None:
        raw = read_files(entry, settings.records)
    else:
        days = 0.0 if settings.refresh else settings.max_age_days
        raw = harvest(entry, fetcher, timedelta(days=days), missing)
    seen: set[str] = set()
    kept = chosen = 0
    for item in raw:
        record = read_record(settings.museum, entry, item)
        if record is None or record.id in seen:
            continue
        seen.add(record.id)
        catalogued = catalogue(record, entry)
        kept += catalogued.choice.kept
        tell(READING, len(seen), len(seen), f"{kept} Chinese ceramics")
        yield catalogued
        chosen += _refusal(catalogued, settings) is None
        if chosen == settings.limit:
            return


def _collect(
    entry: Museum,
    settings: ImportSettings,
    catalogued: list[Catalogued],
    fetcher: Fetcher,
    work: Path,
    tell: Progress,
) -> tuple[ImportReport, list[Record]]:
    fates: dict[str, Entry] = {}
    chosen: list[Catalogued] = []
    for item in catalogued:
        fate = _refusal(item, settings)
        if fate is None:
            chosen.append(item)
        else:
            fates[item.record.id] = entry_of(item, fate)
    rows: dict[str, Record] = {}
    replaced: list[str] = []
    max_age = timedelta(0) if settings.refresh else None
    for done, item in enumerate(chosen, start=1):
        fetched, failures = fetch_pictures(item.record, fetcher, work, settings.views, max_age)
        replaced += [f.url for f in fetched if f.replaced]
        names = [f.file_name for f in fetched if _add(rows, item, f, work)]
        fates[item.record.id] = _fate(item, fetched, names, failures)
        tell(FETCHING, done, len(chosen), f"{len(rows)} pictures")
    entries = [fates[item.record.id] for item in catalogued]
    _sweep(work, rows)
    licenses = Counter(row.extra["license"] for row in rows.values())
    report = summarise(entry, settings, entries, licenses, replaced, vars(fetcher.counts).copy())
    return report, list(rows.values())


def _refusal(item: Catalogued, settings: ImportSettings) -> str | None:
    """Why a record is left out before any picture is asked for."""
    if not item.choice.kept:
        return item.choice.why
    if not item.record.pictures:
        return "no picture"
    if item.record.license is None and not settings.permission:
        return "no open licence stated"
    return None


def _add(rows: dict[str, Record], item: Catalogued, picture: Fetched, work: Path) -> bool:
    """Add a row, unless the same picture is there already, for another part of a set.

    Then labels on which the two records differ are left blank: the picture shows both.
    """
    there = rows.get(picture.sha256)
    if there is not None:
        (work / picture.file_name).unlink(missing_ok=there.file_name != picture.file_name)
        for task in TASKS:
            if there.labels[task] != item.labels[task]:
                there.labels[task] = None
        return False
    record = item.record
    rows[picture.sha256] = Record(
        picture.file_name,
        dict(item.labels),
        f"{record.museum}:{record.object}",
        extra={
            "source": record.page or picture.url,
            "license": record.license or "not stated",
            "credit_line": " ".join(record.credit.split()),
            "record": f"{record.museum}:{record.id}",
            "title": " ".join(record.title.split()),
            "picture_url": picture.url,
            "sha256": picture.sha256,
        },
    )
    return True


def _fate(
    item: Catalogued, fetched: list[Fetched], names: list[str], failures: list[Failure]
) -> Entry:
    told = [NoPicture(url=failure.url, why=failure.why) for failure in failures]
    if names:
        return entry_of(item, IMPORTED, names, told)
    return entry_of(item, "picture of another record" if fetched else "no usable picture", (), told)


def _sweep(work: Path, rows: dict[str, Record]) -> None:
    """Remove pictures that an earlier, interrupted run left and this one does not list."""
    listed = {row.file_name for row in rows.values()}
    for path in (work / "images").glob("*") if (work / "images").is_dir() else ():
        if f"images/{path.name}" not in listed:
            path.unlink()


def _nothing(report: ImportReport) -> str:
    fates = "; ".join(f"{count} {fate}" for fate, count in report.fates.items()) or "no records"
    hint = ""
    if report.unanswered:
        reasons = "; ".join(f"{n} {why}" for why, n in reasons_of(report.unanswered).items())
        hint = f" Listed and not given: {reasons}."
    if "no open licence stated" in report.fates:
        hint += f" {report.terms} With the museum's permission, add --permission."
    return f"{report.museum} gave no picture to import ({report.records} records: {fates}).{hint}"
