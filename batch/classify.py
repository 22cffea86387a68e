"""`porcelain batch classify`: a row per picture of a collection, whatever interrupts it."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from batch.facts import Facts
from batch.inputs import Source, recognise
from batch.left_out import left_out_file, write_left_out
from batch.listing import Listing, keep_listing, open_listing
from batch.objects import check_source, objects_file, write_objects
from batch.outputs import Result, check_output, check_rows, write_result
from batch.parts import Parts, facts_of, has_parts, read_part, remove_parts
from batch.pictures import Classification, Entry
from batch.pool import ProcessPool
from batch.progress import OnProgress
from batch.settings import ClassifySettings
from batch.work import begin, begun_with, end, only_one, room_for
from porcelain.bundle import MANIFEST_FILE, Bundle, load_bundle
from porcelain.errors import UserError
from porcelain.files import sha256_file, work_folder, write_json

Rows = Callable[[Iterable[Sequence[Entry]]], Iterator[pa.Table]]
"""Chunks of inputs to tables of rows, in order."""

SUMMARY_FILE: Final = "summary.json"


@dataclass(frozen=True)
class Summary:
    """How a job ended.

    Attributes:
        out: The result.
        rows: In it: as many as inputs.
        classified: Rows with answers.
        errors: Rows without, by kind.
        abstained: Per task, answers that are too unsure to count.
        unlike: Pictures unlike those of training.
        left_out: Files of a folder that did not look like pictures.
        parts: The result was made in.
        resumed: Rows that an earlier run had made.
        seconds: Of this run.
        per_second: Rows that this run made, per second.
        model: Name, version and digest.
        objects: Rows of the table of objects, where there is one.
        objects_out: Where that is.
        left_out_file: Where those left out are named, each with why; None where there are none.
        cut: Cells that were longer than Excel allows.
    """

    out: str
    rows: int
    classified: int
    errors: dict[str, int]
    abstained: dict[str, int]
    unlike: int
    left_out: int
    parts: int
    resumed: int
    seconds: float
    per_second: float
    model: dict[str, str]
    objects: int | None = None
    objects_out: str | None = None
    left_out_file: str | None = None
    cut: int = 0

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


@dataclass
class _Counts:
    """What rows say, counted as they pass or as they are read back."""

    tasks: Sequence[str]
    rows: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    abstained: Counter[str] = field(default_factory=Counter)
    unlike: int = 0

    def add(self, table: pa.Table) -> None:
        self.rows += len(table)
        for kind in table["error_kind"].drop_null().to_pylist():
            self.errors[kind] += 1
        self.unlike += pc.sum(pc.invert(table["in_domain"])).as_py() or 0
        for task in self.tasks:
            self.abstained[task] += pc.sum(table[f"{task}_abstained"]).as_py() or 0


def classify(
    text: str,
    bundle_path: Path,
    out: Path,
    settings: ClassifySettings,
    *,
    overwrite: bool = False,
    image_url: str | None = None,
    on_progress: OnProgress = lambda done, total, errors: None,
) -> Summary:
    """Classify a collection.

    Interrupted at any moment, it goes on when called again with the same inputs and bundle: a
    finished part is never made again, and every input has one row.

    Args:
        text: A folder, dataset folder, pattern, list of paths, or URL; see `batch.inputs`.
        bundle_path: A classifier bundle.
        out: Where the result is to appear; its ending names its form (`batch.outputs`).
        settings: How.
        overwrite: Replace what is at `out`, and throw away unfinished work of another kind.
        image_url: For Label Studio: what stands before the pictures' paths below INPUT.
        on_progress: Hears how far it is.

    Returns:
        The counts.

    Raises:
        UserError: Inputs, bundle and options that do not fit, or unfinished work of another job.
        DiskFullError: There is no room; finished parts are kept.
    """
    bundle = load_bundle(bundle_path, "classifier")
    if settings.coverage is not None and not bundle.classifier.conformity:
        raise UserError(
            f"{bundle_path} was not calibrated for label sets; leave --coverage out, or train anew."
        )
    source = recognise(text)
    if settings.by_object and settings.known:
        raise UserError("--by-object and --known do not go together; leave one out.")
    if settings.by_object:
        check_source(source)
    facts = Facts(source, settings.known, bundle.classifier) if settings.known else None
    _check_out(out, source, overwrite)
    with only_one(out), room_for(out):
        if (leftover := _finished(out)) is not None:
            end(out)
            return leftover
        _check_free(out, overwrite)
        return _run(_Job(source, bundle, out, settings, overwrite, facts, image_url), on_progress)


@dataclass(frozen=True)
class _Job:
    """What `classify` was asked for."""

    source: Source
    bundle: Bundle
    out: Path
    settings: ClassifySettings
    overwrite: bool
    facts: Facts | None = None
    image_url: str | None = None

    def identity(self) -> dict[str, Any]:
        """What rows depend on."""
        return {
            "command": "batch classify",
            "input": self.source.place,
            "bundle": sha256_file(self.bundle.path / MANIFEST_FILE),
            "facts": None if self.facts is None else self.facts.digest,
            **self.settings.identity(),
        }


def _run(job: _Job, on_progress: OnProgress) -> Summary:
    begun_at = time.monotonic()
    run, listing, parts = _open(job)
    check_rows(job.out, listing.count)
    tasks = list(job.bundle.classifier.labels)
    counts = _Counts(tasks)
    work = Classification(job.bundle, job.settings, job.source.root)
    resumed = parts.rows_done
    on_progress(resumed, listing.count, 0)
    facts = job.facts
    entries = (
        Entry(index, location, {} if facts is None else facts[index])
        for index, location in parts.missing(listing.entries())
    )
    handed = job.settings.handed(listing.count - resumed)
    with ExitStack() as stack:
        rows = _engine(job.settings, work, stack)
        for table in parts.save(rows(_chunks(entries, handed))):
            counts.add(table)
            on_progress(resumed + counts.rows, listing.count, counts.errors.total())
    seconds = time.monotonic() - begun_at
    summary = _summary(job, listing, parts, resumed, seconds)
    if job.settings.by_object:
        summary = _with_objects(job, parts, summary)
    summary = _with_left_out(job, summary)
    said = {"run": run, "summary": summary.to_json()}
    # Before the result, so that one which is younger was made by this run.
    write_json(work_folder(job.out) / SUMMARY_FILE, said)
    sets = job.settings.coverage is not None
    result = Result(job.source, job.bundle, parts, work.schema, job.image_url, sets)
    cut = write_result(result, job.out, said)
    end(job.out)
    return replace(summary, cut=cut)


def _open(job: _Job) -> tuple[str, Listing, Parts]:
    """The run's name, its inputs, and the parts that are there."""
    folder = work_folder(job.out)
    run, begun = begin(job.out, job.identity(), begun=has_parts(folder), overwrite=job.overwrite)
    listing, followed = open_listing(folder, job.source, begun=begun, overwrite=job.overwrite)
    if not followed:
        remove_parts(folder)
        listing = keep_listing(listing)
    return run, listing, Parts(folder, job.settings.part_size, listing.count)


def _engine(settings: ClassifySettings, work: Classification, stack: ExitStack) -> Rows:
    """Processes of ours, or Ray."""
    if settings.ray is None:
        pool: ProcessPool[Entry, pa.Table] = ProcessPool(work, settings.worker_count)
        return stack.enter_context(pool).map
    from batch.on_ray import classify_on_ray, cluster

    stack.enter_context(cluster(settings.ray))
    return lambda chunks: classify_on_ray(work, chunks)


def _summary(job: _Job, listing: Listing, parts: Parts, resumed: int, seconds: float) -> Summary:
    """Counts over all parts, those of earlier runs too."""
    tasks = list(job.bundle.classifier.labels)
    counts = _Counts(tasks)
    columns = ["error_kind", "in_domain", *(f"{task}_abstained" for task in tasks)]
    for path in parts.paths():
        counts.add(read_part(path, columns))
    manifest = job.bundle.manifest
    return Summary(
        out=str(job.out),
        rows=counts.rows,
        classified=counts.rows - counts.errors.total(),
        errors=dict(counts.errors.most_common()),
        abstained=dict(counts.abstained),
        unlike=counts.unlike,
        left_out=listing.left_out,
        parts=parts.count,
        resumed=resumed,
        seconds=round(seconds, 3),
        per_second=round((listing.count - resumed) / max(seconds, 1e-9), 2),
        model={
            "name": manifest.name,
            "version": manifest.version,
            "digest": manifest.digest(),
        },
    )


def _with_objects(job: _Job, parts: Parts, summary: Summary) -> Summary:
    """Write the table of objects; before that of pictures, which says that all is done."""
    path = objects_file(job.out)
    tables = map(read_part, parts.paths())
    count = write_objects(path, tables, job.source, job.bundle, job.settings.top_k)
    return replace(summary, objects=count, objects_out=str(path))


def _with_left_out(job: _Job, summary: Summary) -> Summary:
    """Name every file that has no row, with why not."""
    path = left_out_file(job.out)
    count = write_left_out(path, job.source, job.out)
    return replace(summary, left_out=count, left_out_file=str(path) if count else None)


def _finished(out: Path) -> Summary | None:
    """The summary, where a run was interrupted after its result was in place."""
    begun = begun_with(out)
    if begun is None or not out.is_file():
        return None
    facts = facts_of(out) if out.suffix.lower() == ".parquet" else _facts_before(out)
    return Summary(**facts["summary"]) if facts.get("run") == begun["run"] else None


def _facts_before(out: Path) -> dict[str, Any]:
    """What was to be said of a result that is in place; empty where it is another's, and older."""
    path = work_folder(out) / SUMMARY_FILE
    try:
        if path.stat().st_mtime_ns > out.stat().st_mtime_ns:
            return {}
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found


def _check_out(out: Path, source: Source, overwrite: bool) -> None:
    check_output(out)
    if out.is_dir():
        raise UserError(f"{out} is a folder, where a file is to be written; choose another --out.")
    if source.place == str(out.absolute()):
        raise UserError(f"--out {out} would replace what is read; choose another file.")
    if out.exists() and begun_with(out) is None:
        _check_free(out, overwrite)


def _check_free(out: Path, overwrite: bool) -> None:
    if out.exists() and not overwrite:
        raise UserError(f"{out} already exists; choose another --out or add --overwrite.")


def _chunks(entries: Iterator[Entry], size: int) -> Iterator[Sequence[Entry]]:
    while chunk := list(islice(entries, size)):
        yield chunk
