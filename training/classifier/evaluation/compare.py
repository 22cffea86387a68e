"""`porcelain classifier compare`: which of two bundles is better, on pictures that both must guess.

Both answer the same pictures, and the difference is taken picture by picture; its interval comes
from drawing objects with replacement, the same for both. What either bundle has learned from or
was chosen by is left out, with every other picture of the same object.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from porcelain.bundle import CLASSIFIER_MODEL_FILE, Bundle, load_bundle
from porcelain.dataset import Dataset, Record, load_dataset
from porcelain.errors import UserError
from porcelain.files import check_free
from porcelain.predictor import Predictor
from training.classifier.evaluation.bootstrap import (
    FloatArray,
    IntArray,
    interval,
    macro_draws,
    object_weights,
    scores,
    totals,
)
from training.classifier.evaluation.comparison import (
    ComparedBundle,
    Comparison,
    Paired,
    TaskComparison,
    Turned,
    verdict,
)
from training.classifier.evaluation.inference import Answers, ProgressCallback, answer
from training.classifier.evaluation.reliability import calibration_error, reliability_bins
from training.classifier.evaluation.selection import content_digests
from training.data.digests import DIGESTS_FILE, known_parts

_LEARNED = ("train", "validation")
LEAST_PICTURES = 10
"""Fewer judge nothing."""


@dataclass(frozen=True)
class Contestant:
    """One bundle's answers about the pictures that are judged.

    Attributes:
        bundle: The bundle.
        graph: The file that answered.
        answers: About the pictures in order.
    """

    bundle: Bundle
    graph: str
    answers: Answers


def compare_bundles(
    first: Path,
    second: Path,
    data: Path,
    *,
    out: Path | None = None,
    overwrite: bool = False,
    resamples: int = 2000,
    seed: int = 0,
    on_progress: ProgressCallback | None = None,
) -> Comparison:
    """Measure two bundles against each other.

    Args:
        first: A classifier bundle, A.
        second: Another, B; differences are B - A.
        data: A dataset folder.
        out: Folder for `comparison.json` and `comparison.html`; None writes nothing.
        overwrite: Replace what is at `out`.
        resamples: Bootstrap draws.
        seed: Of the draws.
        on_progress: Called with pictures done and in all, both bundles together.

    Raises:
        BundleError: Not a classifier bundle.
        DatasetError: Not a dataset folder.
        UserError: A bundle does not say what it learned from, too few pictures are left that
            neither has seen, the bundles have no task in common, or `out` is taken.
    """
    if out is not None:
        check_free(out, overwrite, (first, second, data))
    bundles = [load_bundle(path, "classifier") for path in (first, second)]
    tasks = [task for task in bundles[0].classifier.labels if task in bundles[1].classifier.labels]
    if not tasks:
        raise UserError(f"{first} and {second} answer no task in common.")
    dataset = load_dataset(data)
    digests = content_digests(dataset)
    kept, left_out = _unseen(dataset, digests, bundles)
    contestants = _answers(bundles, dataset, kept, digests, on_progress)
    readable = [one.answers.readable for one in contestants]
    usable = np.intersect1d(readable[0], readable[1])
    records = [kept[i] for i in usable]
    if len(records) < LEAST_PICTURES:
        raise UserError(f"Only {len(records)} picture(s) can be read; that judges nothing.")
    name_of = {r.file_name: d for r, d in zip(dataset.records, digests, strict=True)}
    objects = [r.object_id or f"sha256:{name_of[r.file_name]}" for r in records]
    drawn = object_weights(objects, resamples, seed)
    rows = [np.searchsorted(one.answers.readable, usable) for one in contestants]
    result = Comparison(
        a=_named(contestants[0]),
        b=_named(contestants[1]),
        data=str(data),
        pictures=len(records),
        objects=len(set(objects)),
        left_out=left_out,
        unreadable=len(kept) - len(records),
        resamples=resamples,
        seed=seed,
        tasks={
            task: _compare_task(task, contestants, rows, records, drawn, seed) for task in tasks
        },
    )
    if out is not None:
        # Drawing is needed only here, and imports the template engine.
        from training.classifier.evaluation.comparison_page import write_comparison

        write_comparison(result, dataset, out, overwrite=overwrite)
    return result


def _unseen(
    dataset: Dataset, digests: Sequence[str], bundles: Sequence[Bundle]
) -> tuple[list[Record], dict[str, int]]:
    """The real pictures whose object neither bundle has seen, and how many are left out, by why.

    Raises:
        UserError: A bundle does not say what it has seen, or too few are left.
    """
    seen: set[str] = set()
    for bundle in bundles:
        parts = known_parts(bundle)
        if not parts:
            raise UserError(
                f"{bundle.path} has no {DIGESTS_FILE}, so nobody can tell what it learned from; "
                "train it anew to compare it."
            )
        seen |= {digest for digest, part in parts.items() if part in _LEARNED}
    pairs = list(zip(dataset.records, digests, strict=True))
    objects = {r.object_id for r, digest in pairs if digest in seen and r.object_id}
    learned = [digest in seen or r.object_id in objects for r, digest in pairs]
    kept = [
        r for (r, _), known in zip(pairs, learned, strict=True) if not known and not r.synthetic
    ]
    left_out = {"one has learned from its object": sum(learned)}
    left_out["synthetic"] = len(pairs) - len(kept) - sum(learned)
    if len(kept) < LEAST_PICTURES:
        raise UserError(
            f"Of the {len(pairs)} pictures of {dataset.root} only {len(kept)} are real and of "
            "objects that neither bundle has learned from; what one has seen would flatter it. "
            "Give other photographs, or train both with the same test part."
        )
    return kept, {reason: count for reason, count in left_out.items() if count}


def _answers(
    bundles: Sequence[Bundle],
    dataset: Dataset,
    records: Sequence[Record],
    digests: Sequence[str],
    on_progress: ProgressCallback | None,
) -> list[Contestant]:
    """Both bundles' answers; of a bundle that knows a picture, the graph that did not learn it."""
    name_of = {r.file_name: d for r, d in zip(dataset.records, digests, strict=True)}
    paths = [dataset.path(record) for record in records]
    contestants = []
    for number, bundle in enumerate(bundles):
        known = known_parts(bundle)
        own = any(name_of[record.file_name] in known for record in records)
        graph = bundle.measured_graph if own else CLASSIFIER_MODEL_FILE
        predictor = Predictor(bundle, threads=os.cpu_count() or 1, graph=graph)

        def moved(done: int, total: int, before: int = number) -> None:
            if on_progress is not None:
                on_progress(before * total + done, len(bundles) * total)

        contestants.append(Contestant(bundle, graph, answer(predictor, paths, moved)))
    return contestants


def _named(contestant: Contestant) -> ComparedBundle:
    manifest = contestant.bundle.manifest
    return ComparedBundle(
        path=str(contestant.bundle.path),
        name=manifest.name,
        version=manifest.version,
        digest=manifest.digest(),
        graph="served" if contestant.graph == CLASSIFIER_MODEL_FILE else "held-out",
    )


def _compare_task(
    task: str,
    contestants: Sequence[Contestant],
    rows: Sequence[npt.NDArray[np.intp]],
    records: Sequence[Record],
    drawn: tuple[IntArray, FloatArray],
    seed: int,
) -> TaskComparison:
    names = [one.bundle.classifier.labels[task] for one in contestants]
    truth = [record.labels.get(task) for record in records]
    there = np.array([label is not None for label in truth], dtype=bool)
    both = {*names[0]} & {*names[1]}
    others = {*names[0], *names[1], *(label for label in truth if label is not None)} - both
    every = [*sorted(both), *sorted(others)]
    index = {label: i for i, label in enumerate(every)}
    labels = np.array([index[label] for label in truth if label is not None], dtype=np.int64)
    tables = [
        _widened(one.answers.probabilities[task][row][there], own, index)
        for one, row, own in zip(contestants, rows, names, strict=True)
    ]
    objects, weights = drawn[0][there], drawn[1]
    if len(labels) == 0:
        return TaskComparison.unmeasured(task)
    found = [table.argmax(axis=1) for table in tables]
    each = [scores(labels, answers, objects, weights) for answers in found]
    # The same seed draws the same for both, so that they stay paired.
    macro = [
        macro_draws(labels, answers, objects, len(both), resamples=len(weights), seed=seed)
        for answers in found
    ]
    point = [scores(labels, answers, np.zeros_like(labels), np.ones((1, 1))) for answers in found]
    measures = {
        "f1_macro": _paired([p.f1_macro[0] for p in point], [m.f1_macro for m in macro]),
        "accuracy": _paired([p.accuracy[0] for p in point], [e.accuracy for e in each]),
        "log_loss": _log_losses(tables, labels, names, index, objects, weights),
    }
    ece = [
        calibration_error(reliability_bins(table.max(axis=1), answers == labels))
        for table, answers in zip(tables, found, strict=True)
    ]
    known = [record for record, one in zip(records, there, strict=True) if one]
    return TaskComparison(
        support=len(labels),
        objects=len(np.unique(objects)),
        **measures,
        ece_a=ece[0],
        ece_b=ece[1],
        turned=_turned(known, labels, found, tables, every),
        verdict=verdict(task, measures, len(labels)),
    )


def _widened(
    probabilities: npt.NDArray[np.float32], names: Sequence[str], index: Mapping[str, int]
) -> FloatArray:
    """Probabilities with a column for every label of either bundle or the data."""
    table = np.zeros((len(probabilities), len(index)))
    table[:, [index[name] for name in names]] = probabilities
    return table


def _log_losses(
    tables: Sequence[FloatArray],
    labels: IntArray,
    names: Sequence[Sequence[str]],
    index: Mapping[str, int],
    objects: IntArray,
    weights: FloatArray,
) -> Paired | None:
    """Over the pictures whose label both bundles know; None where there is none."""
    both = [index[name] for name in set(names[0]) & set(names[1])]
    there = np.isin(labels, both)
    if not there.any():
        return None
    least = np.finfo(np.float32).tiny
    losses = [-np.log(np.maximum(table[there, labels[there]], least)) for table in tables]
    groups = objects[there]
    with np.errstate(invalid="ignore", divide="ignore"):
        counts = totals(weights, groups, np.ones(int(there.sum())))
        each = [totals(weights, groups, loss) / counts for loss in losses]
    return _paired([float(loss.mean()) for loss in losses], each)


def _paired(point: Sequence[float], draws: Sequence[FloatArray]) -> Paired:
    return Paired(
        a=float(point[0]),
        b=float(point[1]),
        difference=float(point[1] - point[0]),
        interval=interval(draws[1] - draws[0]),
    )


def _turned(
    records: Sequence[Record],
    labels: IntArray,
    found: Sequence[IntArray],
    tables: Sequence[FloatArray],
    names: Sequence[str],
) -> list[Turned]:
    """Pictures that one bundle has right and the other wrong, the surest of B first."""
    right = [answers == labels for answers in found]
    rows = np.flatnonzero(right[0] != right[1])
    rows = rows[np.argsort(-tables[1][rows].max(axis=1, initial=0.0), kind="stable")]
    return [
        Turned(
            file_name=records[i].file_name,
            label=names[labels[i]],
            a=names[found[0][i]],
            a_probability=float(tables[0][i].max()),
            b=names[found[1][i]],
            b_probability=float(tables[1][i].max()),
            better="b" if right[1][i] else "a",
        )
        for i in map(int, rows)
    ]
