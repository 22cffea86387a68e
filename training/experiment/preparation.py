"""From folders to an experiment that every process can work on: read, checked, divided, decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from porcelain import __version__
from porcelain.dataset import Dataset, load_dataset, read_metadata
from porcelain.errors import DatasetError, UserError
from porcelain.files import sha256_file
from porcelain.vocabulary import TASKS, load_taxonomy
from training.data.fingerprints import fingerprint_dataset
from training.data.split import Split, read_split, write_split
from training.experiment.additions import synthetic_count, usable_records
from training.experiment.arms import candidates, choose_arms, recipe_of
from training.experiment.folds import (
    as_records,
    check_fixed,
    describe_photographs,
    evaluation_sets,
    exclude_training_pictures,
    fold_name,
    folds_of,
    split_file,
)
from training.experiment.material import (
    MATERIAL_FOLDER,
    is_prepared,
    prepare_material,
    resolve_weights,
)
from training.experiment.records import (
    EXPERIMENT_FILE,
    Arm,
    Experiment,
    Picture,
    read_experiment,
    write_experiment,
)
from training.experiment.settings import ExperimentSettings
from training.experiment.sources import Source, check_leaks, open_sources, without_copies
from training.generator.synthesis.learned import Learned

NOTHING: Final = "none"
"""In place of a `split.json`: the folders' pictures were made without any photograph."""


@dataclass(frozen=True)
class Inputs:
    """What an experiment reads.

    Attributes:
        data: Dataset folder of photographs.
        folders: Folders of added pictures by role; `{fold}` in a path stands for the fold.
        learned: What folders have learned from that do not say so themselves: the path of a
            `split.json`, or `none` where no photograph has taught them.
        base_learned: Likewise, what the base under the generators has learned from, where it does
            not say so itself.
        splits: Folder of fixed folds, `fold-0.json` and on, for folders that were made inside
            them; where none was, folds are drawn for each seed, as with None.
    """

    data: Path
    folders: Mapping[str, str] = field(default_factory=dict)
    learned: str | None = None
    base_learned: str | None = None
    splits: Path | None = None


@dataclass(frozen=True)
class Reporter:
    """What a caller hears meanwhile. Every hook may be left out."""

    message: Callable[[str], None] = lambda text: None
    reading: Callable[[int, int], None] = lambda done, total: None
    decoding: Callable[[int, int], None] = lambda done, total: None
    sampling: Callable[[int, int, str], None] = lambda done, total, note: None
    units: Callable[[int, int, str], None] = lambda done, total, note: None


@dataclass(frozen=True)
class Prepared:
    """An experiment that is ready to be worked on.

    Attributes:
        experiment: All of it, with what earlier runs asked for.
        arms: What this run asks for.
        seeds: Likewise.
    """

    experiment: Experiment
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]


def prepare(
    inputs: Inputs,
    root: Path,
    settings: ExperimentSettings,
    wanted: Sequence[str] | None = None,
    reporter: Reporter | None = None,
) -> Prepared:
    """Write `experiment.json` and the decoded pictures, or find those of an earlier run.

    An experiment may grow: more seeds, arms and folders leave what is done as it is.

    Args:
        inputs: What to read.
        root: The experiment's folder.
        settings: How to compare.
        wanted: Arms; see `choose_arms`.
        reporter: Hears of progress.

    Raises:
        UserError: Inputs that do not fit together, or another experiment at `root`.
    """
    reporter = reporter or Reporter()
    dataset = load_dataset(inputs.data)
    sources = open_sources(
        inputs.folders,
        settings.folds,
        dataset,
        _declared(inputs.learned),
        _declared(inputs.base_learned),
    )
    arms = choose_arms(wanted, settings.ratios, list(inputs.folders))
    earlier = read_experiment(root) if (root / EXPERIMENT_FILE).is_file() else None
    splits = _read_splits(inputs.splits, settings.folds)
    if splits and not _needs_fixed_folds(sources, earlier):
        inputs, splits = replace(inputs, splits=None), []
        reporter.message(
            "No folder has learned from a photograph, so folds are drawn anew for each seed; of "
            "--splits only their number is used."
        )
    experiment = _draft(inputs, root, settings, dataset, arms, sources, earlier, reporter)
    new = sources
    if earlier is not None:
        experiment = join_experiments(earlier, experiment, root)
        new = [source for source in sources if not is_prepared(root, source, earlier)]
    if earlier is None or new:
        experiment, new = _examine(experiment, dataset, new, splits, reporter)
    for fold, split in enumerate(splits):
        write_split(split_file(root, fold), split)
    names = {picture.file_name for picture in experiment.pictures}
    known = Dataset(dataset.root, tuple(r for r in dataset.records if r.file_name in names))
    prepare_material(root, experiment, known, new, reporter.decoding)
    seeds = tuple(settings.seed_numbers())
    _check_enough(experiment, root, arms, seeds)
    if experiment != earlier:
        write_experiment(root, experiment)
    return Prepared(experiment, tuple(arms), seeds)


def _needs_fixed_folds(sources: Sequence[Source], earlier: Experiment | None) -> bool:
    """Whether a folder binds the experiment to the folds that it was made for.

    Where none does, each seed has folds of its own, so that intervals over seeds see what another
    training set would have changed.
    """
    if earlier is not None and earlier.design.get("fixed_splits"):
        return True
    return any(source.fold is not None or source.learned != Learned() for source in sources)


def _draft(
    inputs: Inputs,
    root: Path,
    settings: ExperimentSettings,
    dataset: Dataset,
    arms: list[Arm],
    sources: Sequence[Source],
    earlier: Experiment | None,
    reporter: Reporter,
) -> Experiment:
    """What is asked for, without pictures."""
    training, digests = resolve_weights(settings.training, root, earlier, reporter.message)
    digests |= {"data": dataset.digest()} | {source.name: source.digest for source in sources}
    if inputs.splits is not None:
        for fold in range(settings.folds):
            digests[f"split-{fold}"] = sha256_file(inputs.splits / fold_name(fold))
    tasks = [task for task in TASKS if len(dataset.counts(task)) >= 2]
    if not tasks:
        raise DatasetError(f"{dataset.root} has no task with two labels; nothing can be learned.")
    return Experiment(
        created_by=__version__,
        data=str(inputs.data),
        sources=dict(inputs.folders),
        digests=digests,
        seeds=settings.seed_numbers(),
        folds=settings.folds,
        arms=arms,
        tasks=tasks,
        labels={task: dataset.classes(task) for task in tasks},
        training=training.model_dump(mode="json"),
        design=settings.design() | {"fixed_splits": inputs.splits is not None},
        pictures=[],
        taxonomy=load_taxonomy(inputs.data),
    )


def _examine(
    experiment: Experiment,
    dataset: Dataset,
    sources: Sequence[Source],
    splits: Sequence[Split],
    reporter: Reporter,
) -> tuple[Experiment, list[Source]]:
    """Look at every picture: what it copies, what has learned from it, whether it is tested."""
    total = len(dataset)
    prints = fingerprint_dataset(dataset, on_progress=lambda n: reporter.reading(n, total))
    digests = {item.name: item.file_digest for item in prints}
    pictures, notes = experiment.pictures, list(experiment.notes)
    if not pictures:
        pictures, unreadable = describe_photographs(dataset, prints)
        if unreadable:
            notes.append(
                f"Left out {len(unreadable)} photograph(s) that cannot be read, first "
                f"{unreadable[0]}."
            )
        if splits:
            check_fixed([split.names for split in splits], pictures)
        else:
            pictures = exclude_training_pictures(pictures, sources, digests)
            notes += _kept_note(pictures)
    notes += [
        f"{source.root}: the base of its generator does not say what it has learned from; "
        "photographs that it may know are tested. Declare them with --base-learned."
        for source in sources
        if not source.learned.base_known
    ]
    evaluated = evaluation_sets(pictures, splits)
    check_leaks(sources, evaluated, digests)
    usable, left_out = without_copies(sources, prints, pictures, evaluated)
    for note in [*notes[len(experiment.notes) :], *left_out]:
        reporter.message(note)
    return experiment.model_copy(
        update={"pictures": pictures, "notes": [*notes, *left_out]}
    ), usable


def _kept_note(pictures: Sequence[Picture]) -> list[str]:
    kept = sum(not picture.tested for picture in pictures)
    if kept == 0:
        return []
    return [
        f"{kept} of {len(pictures)} photographs are trained on in every fold and never tested, "
        "because a generator or its filter has learned from them or from their object."
    ]


def _declared(learned: str | None) -> Learned | None:
    if learned is None:
        return None
    if learned == NOTHING:
        return Learned()
    return Learned(names=frozenset(read_split(Path(learned)).names["train"]))


def _read_splits(folder: Path | None, folds: int) -> list[Split]:
    if folder is None:
        return []
    return [read_split(folder / fold_name(fold)) for fold in range(folds)]


def _check_enough(
    experiment: Experiment, root: Path, arms: Sequence[Arm], seeds: Sequence[int]
) -> None:
    """Refuse ratios that the folders cannot meet, before anything is trained.

    Raises:
        UserError: Naming the folder.
    """
    records = as_records(experiment.pictures)
    greatest: dict[str, float] = {}
    for arm in arms:
        source = recipe_of(arm.kind).source
        if source is not None and arm.ratio is not None:
            greatest[source] = max(arm.ratio, greatest.get(source, 0.0))
    for role, ratio in greatest.items():
        for seed in seeds:
            for fold, parts in enumerate(folds_of(experiment, seed, root)):
                folder = root / MATERIAL_FOLDER / f"{role}.fold-{fold}"
                folder = folder if folder.is_dir() else root / MATERIAL_FOLDER / role
                rows = read_metadata(folder).records
                usable = len(usable_records(rows, records, parts.train))
                needed = synthetic_count(ratio, len(parts.train))
                if needed > usable:
                    raise UserError(
                        f"{ratio:g} % beside {len(parts.train)} real pictures takes {needed} "
                        f"pictures of {experiment.sources[role]}, which has {usable} usable ones; "
                        "synthesise more, or choose smaller --ratios."
                    )


def join_experiments(earlier: Experiment, wanted: Experiment, root: Path) -> Experiment:
    """The earlier experiment with the wanted seeds, arms and folders beside its own.

    Args:
        earlier: What is at `root`.
        wanted: What is asked for now, without pictures.
        root: For the message.

    Raises:
        UserError: They differ in what decides results.
    """
    for what in ("folds", "tasks", "labels", "training", "design", "digests"):
        difference = _difference(what, getattr(earlier, what), getattr(wanted, what))
        if difference is not None:
            raise UserError(
                f"{root} holds another experiment ({difference}); choose another --out, or add "
                "--overwrite."
            )
    arms = [*earlier.arms, *(arm for arm in wanted.arms if arm not in earlier.arms)]
    _check_routed(earlier.arms, arms, root)
    return earlier.model_copy(
        update={
            "data": wanted.data,
            "sources": earlier.sources | wanted.sources,
            "digests": earlier.digests | wanted.digests,
            "seeds": sorted({*earlier.seeds, *wanted.seeds}),
            "arms": arms,
        }
    )


def _check_routed(before: list[Arm], after: list[Arm], root: Path) -> None:
    routed = any(recipe_of(arm.kind).chosen for arm in before)
    if routed and candidates(before) != candidates(after):
        raise UserError(
            f"{root}: its arm routed has chosen among {len(candidates(before))} ratios; with "
            "other ratios it is another arm. Choose another --out."
        )


def _difference(what: str, one: Any, other: Any) -> str | None:  # noqa: ANN401 - any JSON value
    """Where two descriptions differ, in a few words; None where they do not."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return None if one == other else f"{what}: {_short(one)} there, {_short(other)} here"
    # A folder that only one of the runs names does not contradict the other.
    keys = one.keys() & other.keys() if what == "digests" else one.keys() | other.keys()
    for key in sorted(keys):
        if one.get(key) != other.get(key):
            return f"{what}: {key} {_short(one.get(key))} there, {_short(other.get(key))} here"
    return None


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "…"
