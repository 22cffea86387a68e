"""`porcelain generator evaluate`: pictures of a generator measured against photographs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Group as Rows
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from porcelain.dataset import Dataset, load_dataset, subset
from porcelain.errors import DatasetError, UserError
from porcelain.files import atomic_folder, check_free, write_text
from porcelain.images import decode_image
from porcelain.vocabulary import TASK_NAMES, TASKS
from training.generator.evaluation.comparison import (
    BASE,
    FOLDER,
    HELD_OUT,
    LORA,
    VARIANTS,
    PictureSet,
    compare,
    read_picture_set,
)
from training.generator.evaluation.context import (
    EvaluationContext,
    EvaluationInputs,
    EvaluationSettings,
    open_evaluation,
)
from training.generator.evaluation.groups import (
    Group,
    Sampled,
    load_tuned,
    load_untuned,
    plan_samples,
    rare_labels,
    rows_of,
    sample_variant,
)
from training.generator.evaluation.metrics import KernelDistance
from training.generator.evaluation.results import (
    GeneratorEvaluation,
    GroupResult,
    Measures,
)
from training.generator.synthesis.plan import kind_of
from training.pages.page import page_templates, thumbnail_uri


def evaluation_view(evaluation: GeneratorEvaluation) -> RenderableType:
    """All kinds, rare kinds, then every class in a line."""
    whole = [_group_table(group) for group in evaluation.groups if group.task is None]
    return Rows(Text(f"Feature space: {evaluation.space}"), *whole, _class_table(evaluation))


def _group_table(group: GroupResult) -> Table:
    title = "All kinds" if group.name == "all" else "Rare kinds"
    table = Table(
        "pictures",
        "n",
        "KID",
        "prec.",
        "recall",
        "dens.",
        "cover.",
        "div.",
        *TASKS,
        "copies",
        title=f"{title}: {group.photographs} training photographs",
        padding=(0, 0, 0, 1),
    )
    for column in table.columns[1:]:
        column.justify = "right"
    table.columns[2].no_wrap = True
    for name, item in group.variants.items():
        shares = (item.precision, item.recall, item.density, item.coverage, item.diversity)
        table.add_row(
            name,
            str(item.pictures),
            _distance(item.kid),
            *(_number(value) for value in shares),
            *(_share(item.agreement[task]) for task in TASKS),
            "–" if item.copies is None else str(item.copies),
        )
    return table


def _class_table(evaluation: GeneratorEvaluation) -> Table:
    variants = list(evaluation.variants)
    table = Table(
        "task",
        "label",
        "photos",
        *variants,
        title="By class (* rare): KID, and the share read as planned",
        padding=(0, 0, 0, 1),
    )
    for column in table.columns[2:]:
        column.justify = "right"
        column.no_wrap = True
    for group in evaluation.groups:
        if group.task is not None and group.label is not None:
            cells = (_cell(group.variants.get(name), group.task) for name in variants)
            label = escape(group.label) + (" *" if group.rare else "")
            table.add_row(group.task, label, str(group.photographs), *cells)
    return table


def _cell(item: Measures | None, task: str) -> str:
    if item is None:
        return "–"
    value = "–" if item.kid is None else f"{item.kid.value:.3f}"
    return f"{value} {_share(item.agreement[task]):>4}"


def _distance(distance: KernelDistance | None) -> str:
    return "–" if distance is None else f"{distance.value:.4f} ± {distance.std:.4f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


TEMPLATE: Final = "evaluation.html.jinja"
PHOTOGRAPHS: Final = "photographs"
SHOWN: Final = 5
"""Pictures of a class and variant."""

_SIDE: Final = 128


@dataclass(frozen=True)
class Strip:
    """Pictures of one class, side by side.

    Attributes:
        result: The class and its measures.
        pictures: Data URIs per variant, the photographs first.
    """

    result: GroupResult
    pictures: dict[str, list[str]]


def render_report(
    evaluation: GeneratorEvaluation, training: PictureSet, others: Mapping[str, PictureSet]
) -> str:
    """One HTML page with no reference to anything outside itself.

    Args:
        evaluation: The measures.
        training: The photographs of the training part.
        others: The sets that were measured; held-out photographs are not shown.
    """
    rare = {task: frozenset(labels) for task, labels in evaluation.rare.items()}
    sets = {PHOTOGRAPHS: training, **others}
    strips = [
        Strip(
            group,
            {
                name: _pictures(group, pictures, rare)
                for name, pictures in sets.items()
                if name != HELD_OUT
            },
        )
        for group in evaluation.groups
        if group.task is not None
    ]
    return (
        page_templates("training.generator.evaluation")
        .get_template(TEMPLATE)
        .render(
            evaluation=evaluation,
            variants=list(evaluation.variants),
            tasks=TASK_NAMES,
            strips={task: [s for s in strips if s.result.task == task] for task in TASKS},
        )
    )


def _pictures(
    result: GroupResult, pictures: PictureSet, rare: Mapping[str, frozenset[str]]
) -> list[str]:
    """Some of a class, evenly spread over its kinds."""
    group = Group(result.name, result.task, result.label, result.rare)
    rows = rows_of(group, pictures.kinds, rare, pictures.extra)
    if not len(rows):
        return []
    spread = np.unique(np.linspace(0, len(rows) - 1, min(SHOWN, len(rows))).round().astype(int))
    return [_thumbnail(pictures.paths[int(row)]) for row in rows[spread]]


def _thumbnail(path: Path) -> str:
    return thumbnail_uri(decode_image(path.read_bytes(), longest_side=_SIDE).pixels, _SIDE)


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
    context = open_evaluation(inputs, settings)
    for warning in context.warnings:
        reporter.message(warning)
    names = context.split.names
    training = _read_photographs(context, names["train"], "train", reporter)
    judged = (*names["validation"], *names["test"])
    others = {HELD_OUT: _read_photographs(context, judged, HELD_OUT, reporter)}
    with _work_folder(out) as work:
        for name, sampled in _sample(inputs, settings, context, training, work, reporter):
            others[name] = _read_sampled(name, sampled, context, reporter)
        if inputs.synthetic is not None:
            others[FOLDER] = _read_folder(inputs.synthetic, context, reporter)
        others = {name: others[name] for name in VARIANTS if name in others and len(others[name])}
        evaluation = compare(settings, context, training, others)
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

    page = render_report(evaluation, training, others)
    with atomic_folder(out, overwrite=overwrite) as folder:
        write_text(folder / EVALUATION_FILE, evaluation.model_dump_json(indent=2) + "\n")
        write_text(folder / REPORT_FILE, page)


def _read_photographs(
    context: EvaluationContext, names: tuple[str, ...], what: str, reporter: EvaluationReporter
) -> PictureSet:
    dataset = subset(context.photographs, names)
    return _read_dataset(dataset, f"Reading photographs ({what})", context, reporter)


def _read_folder(
    folder: Path, context: EvaluationContext, reporter: EvaluationReporter
) -> PictureSet:
    dataset = load_dataset(folder)
    real = next((record for record in dataset.records if not record.synthetic), None)
    if real is not None:
        raise DatasetError(
            f"{folder} holds {real.file_name}, which is not declared synthetic; --synthetic takes "
            "a folder of generated pictures alone."
        )
    return _read_dataset(dataset, f"Reading pictures ({FOLDER})", context, reporter)


def _read_dataset(
    dataset: Dataset, what: str, context: EvaluationContext, reporter: EvaluationReporter
) -> PictureSet:
    return read_picture_set(
        [dataset.path(record) for record in dataset.records],
        [record.file_name for record in dataset.records],
        [kind_of(record.labels) for record in dataset.records],
        context.space,
        context.reader,
        lambda done, total: reporter.progress(what, done, total, ""),
    )


def _read_sampled(
    name: str, sampled: Sampled, context: EvaluationContext, reporter: EvaluationReporter
) -> PictureSet:
    return read_picture_set(
        sampled.paths,
        [candidate.name for candidate in sampled.plan.candidates],
        [candidate.kind for candidate in sampled.plan.candidates],
        context.space,
        context.reader,
        lambda done, total: reporter.progress(f"Reading pictures ({name})", done, total, ""),
        sampled.plan.extra,
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
    context: EvaluationContext,
    training: PictureSet,
    work: Path,
    reporter: EvaluationReporter,
) -> Iterator[tuple[str, Sampled]]:
    """The pictures of each variant that is sampled, all with the same prompts and seeds."""
    if settings.count == 0:
        return
    bundle = context.bundle
    able = [kind for kind in training.kinds if kind in context.known]
    rare = rare_labels(training.kinds)
    plan = plan_samples(bundle, able, rare, settings.count, settings.seed)
    variants = {LORA: (load_tuned, bundle.manifest.digest())}
    if settings.base_too:
        variants[BASE] = load_untuned, bundle.generator.base.digest
    for name, (load, digest) in variants.items():
        sampled = sample_variant(
            plan,
            work / name,
            partial(load, bundle, inputs.base, inputs.device),
            sampling=bundle.generator.sampling,
            generator=digest,
            seed=settings.seed,
            batch_size=settings.batch_size,
            on_progress=partial(reporter.progress, f"Sampling ({name})"),
        )
        yield name, sampled
