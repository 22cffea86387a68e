"""`porcelain generator evaluate`: how good a generator's pictures are, against photographs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from porcelain.dataset import Dataset, load_dataset, subset
from porcelain.errors import DatasetError, UserError
from porcelain.files import atomic_folder, check_free, write_text
from training.generator.evaluation.comparison import (
    BASE,
    FOLDER,
    HELD_OUT,
    LORA,
    VARIANTS,
    PictureSet,
    compare,
    describe_set,
)
from training.generator.evaluation.context import (
    EvaluationInputs,
    EvaluationSettings,
    Ruler,
    open_ruler,
)
from training.generator.evaluation.groups import (
    Sampled,
    load_tuned,
    load_untuned,
    plan_drawing,
    rare_labels,
    sample_variant,
)
from training.generator.evaluation.results import GeneratorEvaluation
from training.generator.synthesis.plan import kind_of

EVALUATION_FILE: Final = "evaluation.json"
REPORT_FILE: Final = "report.html"


@dataclass(frozen=True)
class EvaluationReporter:
    """What a caller hears meanwhile. Every hook may be left out."""

    message: Callable[[str], None] = lambda text: None
    progress: Callable[[str, int, int, str], None] = lambda what, done, total, note: None


def evaluate_generator(
    inputs: EvaluationInputs,
    settings: EvaluationSettings,
    *,
    out: Path | None = None,
    overwrite: bool = False,
    reporter: EvaluationReporter | None = None,
) -> GeneratorEvaluation:
    """Sample from a generator and compare with the photographs that it learned from.

    Args:
        inputs: What to read.
        settings: How much to sample.
        out: Folder for `evaluation.json` and `report.html`; sampling that was interrupted goes
            on only with one. None writes nothing.
        overwrite: Replace what is at `out`.
        reporter: Hears of progress.

    Raises:
        UserError: Inputs that do not fit, or `out` is taken.
    """
    reporter = reporter or EvaluationReporter()
    if settings.count == 0 and inputs.synthetic is None:
        raise UserError("--count 0 samples nothing; give --synthetic, or a count.")
    if out is not None:
        check_free(out, overwrite, inputs.paths())
    ruler = open_ruler(inputs, settings)
    for warning in ruler.warnings:
        reporter.message(warning)
    names = ruler.split.names
    training = _describe_photographs(ruler, names["train"], "train", reporter)
    judged = (*names["validation"], *names["test"])
    others = {HELD_OUT: _describe_photographs(ruler, judged, HELD_OUT, reporter)}
    with _work_folder(out) as work:
        for name, sampled in _sample(inputs, settings, ruler, training, work, reporter):
            others[name] = _describe_sampled(name, sampled, ruler, reporter)
        if inputs.synthetic is not None:
            others[FOLDER] = _describe_folder(inputs.synthetic, ruler, reporter)
        others = {name: others[name] for name in VARIANTS if name in others and len(others[name])}
        evaluation = compare(settings, ruler, training, others)
        if out is not None:
            _write(out, overwrite, evaluation, training, others)
    return evaluation


def _write(
    out: Path,
    overwrite: bool,
    evaluation: GeneratorEvaluation,
    training: PictureSet,
    others: dict[str, PictureSet],
) -> None:
    # Drawing is needed only here, and imports the template engine.
    from training.generator.evaluation.report import render_report

    page = render_report(evaluation, training, others)
    with atomic_folder(out, overwrite=overwrite) as folder:
        write_text(folder / EVALUATION_FILE, evaluation.model_dump_json(indent=2) + "\n")
        write_text(folder / REPORT_FILE, page)


def _describe_photographs(
    ruler: Ruler, names: tuple[str, ...], what: str, reporter: EvaluationReporter
) -> PictureSet:
    dataset = subset(ruler.photographs, names)
    return _describe_dataset(dataset, f"Reading photographs ({what})", ruler, reporter)


def _describe_folder(folder: Path, ruler: Ruler, reporter: EvaluationReporter) -> PictureSet:
    dataset = load_dataset(folder)
    real = next((record for record in dataset.records if not record.synthetic), None)
    if real is not None:
        raise DatasetError(
            f"{folder} holds {real.file_name}, which is not declared synthetic; --synthetic takes "
            "a folder of generated pictures alone."
        )
    return _describe_dataset(dataset, f"Reading pictures ({FOLDER})", ruler, reporter)


def _describe_dataset(
    dataset: Dataset, what: str, ruler: Ruler, reporter: EvaluationReporter
) -> PictureSet:
    return describe_set(
        [dataset.path(record) for record in dataset.records],
        [record.file_name for record in dataset.records],
        [kind_of(record.labels) for record in dataset.records],
        ruler.space,
        ruler.reader,
        lambda done, total: reporter.progress(what, done, total, ""),
    )


def _describe_sampled(
    name: str, sampled: Sampled, ruler: Ruler, reporter: EvaluationReporter
) -> PictureSet:
    return describe_set(
        sampled.paths,
        [candidate.name for candidate in sampled.drawing.candidates],
        [candidate.kind for candidate in sampled.drawing.candidates],
        ruler.space,
        ruler.reader,
        lambda done, total: reporter.progress(f"Reading pictures ({name})", done, total, ""),
        sampled.drawing.extra,
    )


@contextmanager
def _work_folder(out: Path | None) -> Iterator[Path]:
    """Where sampled pictures lie until they are measured; kept after an interruption."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="porcelain-evaluate-") as folder:
            yield Path(folder)
        return
    work = out.parent / f".{out.name}.candidates.partial"
    yield work
    shutil.rmtree(work, ignore_errors=True)


def _sample(
    inputs: EvaluationInputs,
    settings: EvaluationSettings,
    ruler: Ruler,
    training: PictureSet,
    work: Path,
    reporter: EvaluationReporter,
) -> Iterator[tuple[str, Sampled]]:
    """The pictures of each variant that is sampled, all with the same prompts and seeds."""
    if settings.count == 0:
        return
    bundle = ruler.bundle
    able = [kind for kind in training.kinds if kind in ruler.known]
    rare = rare_labels(training.kinds)
    drawing = plan_drawing(bundle, able, rare, settings.count, settings.seed)
    variants = {LORA: (load_tuned, bundle.manifest.digest())}
    if settings.base_too:
        variants[BASE] = load_untuned, bundle.generator.base.digest
    for name, (load, digest) in variants.items():
        sampled = sample_variant(
            drawing,
            work / name,
            partial(load, bundle, inputs.base, inputs.device),
            sampling=bundle.generator.sampling,
            generator=digest,
            seed=settings.seed,
            batch_size=settings.batch_size,
            on_progress=partial(reporter.progress, f"Sampling ({name})"),
        )
        yield name, sampled
