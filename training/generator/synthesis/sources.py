"""What a synthesis starts from: the generator's bundle and, where given, the real photographs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from porcelain.bundle import SPLIT_FILE, Bundle, load_bundle
from porcelain.dataset import Dataset, load_dataset, subset
from porcelain.errors import DatasetError, UserError
from training.data.split import Split, load_split
from training.generator.synthesis.kinds import (
    KindCounts,
    count_bundle,
    count_records,
    describe,
)
from training.generator.synthesis.plan import without_unlearned

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
