"""`porcelain batch generate`: a dataset folder from a plan, whatever interrupts it."""

from __future__ import annotations

import csv
import io
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from batch.plan import Picture, Plan
from batch.progress import OnProgress
from batch.sampler import Sampling
from batch.settings import GenerateSettings
from batch.work import begin, only_one, room_for
from porcelain.bundle import MANIFEST_FILE, Bundle, load_bundle
from porcelain.content_credentials import Signing
from porcelain.dataset import METADATA_FILE
from porcelain.files import (
    check_free,
    replace_folder,
    replace_when_written,
    sha256_bytes,
    sha256_file,
    work_folder,
    write_bytes,
)
from porcelain.synthetic_picture import SUFFIXES, PictureFormat
from porcelain.vocabulary import TASKS, TAXONOMY_FILE

IMAGES: Final = "images"
PER_FOLDER: Final = 1000
"""Pictures in one folder: file systems and people are slow in larger ones."""


@dataclass(frozen=True)
class Summary:
    """How a job ended.

    Attributes:
        out: The dataset folder.
        pictures: In it: as many as planned.
        rows: Of the plan.
        resumed: Pictures that an earlier run had made.
        seconds: Of this run.
        per_second: Pictures that this run made, per second.
        model: Name, version and digest.
    """

    out: str
    pictures: int
    rows: int
    resumed: int
    seconds: float
    per_second: float
    model: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def generate(
    plan_path: Path,
    bundle_path: Path,
    out: Path,
    settings: GenerateSettings,
    *,
    overwrite: bool = False,
    signing: Signing | None = None,
    on_progress: OnProgress = lambda done, total, errors: None,
) -> Summary:
    """Make every picture of a plan, marked as synthetic, with its labels.

    Interrupted at any moment, it goes on when called again with the same plan and bundle: a batch
    that is there is not made again, and the result has the same bytes.

    Args:
        plan_path: See `batch.plan`.
        bundle_path: A generator bundle.
        out: Where the dataset folder is to appear.
        settings: How.
        overwrite: Replace what is at `out`, and throw away unfinished work of another kind.
        signing: Who signs content credentials; None signs nothing. What is signed has other bytes
            each time it is made.
        on_progress: Hears how far it is.

    Raises:
        UserError: A plan, bundle and options that do not fit, or unfinished work of another job.
        DiskFullError: There is no room; finished pictures are kept.
    """
    bundle = load_bundle(bundle_path, "generator")
    check_free(out, overwrite, [plan_path, bundle_path])
    plan = Plan(plan_path, bundle, settings)
    with only_one(out), room_for(out):
        return _run(plan, Sampling(bundle, settings, signing), out, overwrite, on_progress)


def _run(
    plan: Plan,
    sampling: Sampling,
    out: Path,
    overwrite: bool,
    on_progress: OnProgress,
) -> Summary:
    bundle, settings = sampling.bundle, sampling.settings
    begun_at = time.monotonic()
    folder = work_folder(out)
    identity = {
        "command": "batch generate",
        "plan": sha256_file(plan.path),
        "bundle": sha256_file(bundle.path / MANIFEST_FILE),
        **settings.identity(),
    }
    if sampling.signing is not None:
        identity["certificate"] = sha256_bytes(sampling.signing.certificate)
    begin(out, identity, begun=(folder / IMAGES).is_dir(), overwrite=overwrite)
    names = _Names(folder, settings.format)
    missing = (batch for batch in plan.batches() if not names.all_there(batch))
    resumed = sum(len(batch) for batch in plan.batches() if names.all_there(batch))
    done = resumed
    on_progress(done, plan.total, 0)
    with ExitStack() as stack:
        for batch, contents in _made(missing, sampling, stack):
            for picture, content in zip(batch, contents, strict=True):
                write_bytes(folder / names.of(picture), content)
            done += len(batch)
            on_progress(done, plan.total, 0)
    _finish(folder, plan, bundle, names)
    replace_folder(folder, out)
    seconds = time.monotonic() - begun_at
    manifest = bundle.manifest
    return Summary(
        out=str(out),
        pictures=plan.total,
        rows=plan.rows,
        resumed=resumed,
        seconds=round(seconds, 3),
        per_second=round((plan.total - resumed) / max(seconds, 1e-9), 3),
        model={"name": manifest.name, "version": manifest.version, "digest": manifest.digest()},
    )


class _Names:
    """Where pictures are."""

    def __init__(self, folder: Path, picture_format: PictureFormat) -> None:
        self._folder = folder
        self._suffix = SUFFIXES[picture_format]

    def of(self, picture: Picture) -> str:
        """Below the dataset folder."""
        number = picture.number
        return f"{IMAGES}/{number // PER_FOLDER:05}/{number:08}{self._suffix}"

    def all_there(self, batch: Sequence[Picture]) -> bool:
        """Whether every picture of a batch is there; else it is made as a whole again."""
        return all((self._folder / self.of(picture)).is_file() for picture in batch)


def _made(
    batches: Iterable[list[Picture]], sampling: Sampling, stack: ExitStack
) -> Iterator[tuple[Sequence[Picture], list[bytes]]]:
    """Batches with their encoded pictures, in order."""
    if sampling.settings.ray is not None:
        from batch.on_ray import cluster, generate_on_ray

        stack.enter_context(cluster(sampling.settings.ray))
        yield from generate_on_ray(sampling, batches)
        return
    for batch in batches:
        yield batch, sampling.make(batch)


def _finish(folder: Path, plan: Plan, bundle: Bundle, names: _Names) -> None:
    """Write what makes pictures a dataset, and remove what a kill left half written."""
    for path in (folder / IMAGES).rglob(".*"):
        path.unlink()
    with replace_when_written(folder / METADATA_FILE) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        writer = csv.writer(text, lineterminator="\n")
        columns = ["file_name", *TASKS, "synthetic", "generator", "prompt", "seed"]
        writer.writerow(columns)
        digest = bundle.manifest.digest()
        for picture in plan.pictures():
            labels = [picture.labels.get(task, "") for task in TASKS]
            row = [names.of(picture), *labels, "true", digest, picture.prompt, picture.seed]
            writer.writerow(row)
        text.detach()
    shutil.copyfile(plan.path, folder / f"plan{plan.path.suffix.lower()}")
    if (bundle.path / TAXONOMY_FILE).is_file():
        shutil.copyfile(bundle.path / TAXONOMY_FILE, folder / TAXONOMY_FILE)
