"""What a synthesis starts from (the generator's bundle and the real photographs), and its plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from porcelain.bundle import SPLIT_FILE, Bundle, load_bundle
from porcelain.dataset import Dataset, load_dataset, subset
from porcelain.errors import DatasetError, UserError
from training.data.allotment import Kind
from training.data.ratio import Ratio
from training.data.split import Split, load_split
from training.generator.synthesis.plan import (
    KindCounts,
    Plan,
    check_plan,
    count_bundle,
    count_records,
    describe,
    make_plan,
    plan_by_rule,
    read_plan,
    without_unlearned,
)
from training.generator.synthesis.settings import SynthesisSettings

Message = Callable[[str], None]


@dataclass(frozen=True)
class Sources:
    """What pictures are made from, and held against.

    Attributes:
        bundle: The generator.
        photographs: The real pictures, whatever their part; None where none are given.
        split: Their parts, if they are given.
        known: Training photographs per kind that the generator can make.
        pictures: Training photographs in all, with and without labels.
    """

    bundle: Bundle
    photographs: Dataset | None
    split: Split | None
    known: KindCounts
    pictures: int

    @property
    def training(self) -> Dataset:
        """The photographs of the training part.

        Raises:
            UserError: No photographs are given.
        """
        if self.photographs is None or self.split is None:
            raise UserError("This needs the real photographs; give --data.")
        return subset(self.photographs, self.split.names["train"])


def open_sources(
    bundle_path: Path,
    data: Path | None,
    split: Path | None = None,
    message: Message = lambda text: None,
) -> Sources:
    """Load a generator bundle and the dataset folder that it learned from.

    Args:
        bundle_path: A generator bundle.
        data: A dataset folder; None counts on what the bundle tells of its training.
        split: Split of that folder; its own `split.json`, or the bundle's, if not given.
        message: Hears what is left out.

    Raises:
        UserError: A split without data, or no split fits.
        BundleError: Not a generator bundle.
        DatasetError: Not a dataset folder; or the generator learned from pictures of the
            validation or test part.
    """
    bundle = load_bundle(bundle_path, "generator")
    if data is None:
        if split is not None:
            raise UserError("--split says how --data is divided; give --data too.")
        known = count_bundle(bundle.generator)
        return Sources(bundle, None, None, known, sum(known.values()))
    dataset = load_dataset(data)
    real = Dataset(dataset.root, tuple(r for r in dataset.records if not r.synthetic))
    parts = _split_of(dataset, split, bundle)
    _check_leak(dataset, parts, bundle)
    training = subset(real, parts.names["train"])
    known, unlearned = without_unlearned(count_records(training.records), bundle.generator.labels)
    if unlearned:
        message(
            f"Left out {len(unlearned)} kind(s) with labels that the generator has not learned, "
            f"first {describe(unlearned[0])}."
        )
    return Sources(bundle, real, parts, known, len(training))


def _split_of(dataset: Dataset, path: Path | None, bundle: Bundle) -> Split:
    """The split that is given, or the folder's own, or the one that the generator learned by."""
    beside = dataset.root / SPLIT_FILE
    if path is not None or beside.is_file():
        return load_split(path or beside, dataset)
    try:
        return load_split(bundle.path / SPLIT_FILE, dataset)
    except DatasetError as error:
        raise UserError(
            f"{dataset.root} has no {SPLIT_FILE}, and the generator's does not fit it; give the "
            "folder that the generator learned from, or --split."
        ) from error


def _check_leak(dataset: Dataset, split: Split, bundle: Bundle) -> None:
    """Refuse a split whose test pictures the generator has learned from.

    Raises:
        DatasetError: It has.
    """
    try:
        learned = load_split(bundle.path / SPLIT_FILE, dataset).names["train"]
    except DatasetError:
        return  # of another folder, or none: file names say nothing
    part_of = split.subset_by_name()
    leaked = [name for name in learned if part_of[name] != "train"]
    if leaked:
        raise DatasetError(
            f"The generator has learned from {len(leaked)} picture(s) of the validation or test "
            f"part, first {leaked[0]}; its pictures would leak the answers. Train it on this "
            "split, or give the one it was trained on."
        )


def choose_plan(
    sources: Sources,
    settings: SynthesisSettings,
    *,
    plan_file: Path | None = None,
    kinds: Sequence[Kind] = (),
) -> Plan:
    """What is to be made.

    Args:
        sources: What is known of the kinds.
        settings: Ratio, count and rule.
        plan_file: A plan to follow to the letter.
        kinds: Kinds of which `settings.count` pictures are to be made each.

    Raises:
        UserError: The options contradict each other, ask for nothing, or for what cannot be.
    """
    if plan_file is not None and (kinds or settings.count is not None):
        raise UserError("--plan says how many of what; leave out --labels and --count.")
    if plan_file is not None:
        plan = read_plan(plan_file, sources.known)
    elif kinds:
        if settings.count is None:
            raise UserError("--labels needs --count, the number of pictures of each.")
        plan = make_plan(dict.fromkeys(kinds, settings.count), sources.known)
    else:
        wanted = Ratio.parse(settings.ratio).synthetic_count(sources.pictures)
        total = wanted if settings.count is None else settings.count
        if total == 0:
            raise UserError(
                f"A ratio of {settings.ratio} to {sources.pictures} training photographs makes no "
                "picture; give a larger synthetic share, or --count."
            )
        plan = plan_by_rule(total, settings.rule, sources.known, settings.tasks)
    if plan.total == 0:
        raise UserError("The plan asks for no picture; give a count above 0.")
    check_plan(plan, sources.bundle.generator.labels, settings.allow_unseen)
    return plan
