"""Train, validation and test parts of a dataset, made once and kept in `split.json`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from porcelain.bundle import SPLIT_FILE
from porcelain.dataset import Dataset, Record
from porcelain.errors import DatasetError
from porcelain.files import write_text
from porcelain.synthetic_mark import is_marked_synthetic
from training.data.duplicates import duplicate_groups
from training.data.partition import SUBSETS, Fractions, Groups, fold_records, split_records

__all__ = [
    "DEFAULT_FRACTIONS",
    "SUBSETS",
    "Fractions",
    "Groups",
    "Split",
    "load_split",
    "make_folds",
    "make_split",
    "read_split",
    "split_or_make",
    "write_split",
]

DEFAULT_FRACTIONS: Final = (0.8, 0.1, 0.1)

_Part = Literal["train", "validation", "test"]
_Share = Annotated[float, Field(ge=0, le=1)]


class SplitFile(BaseModel):
    """The content of `split.json`."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    seed: int
    dataset_digest: str
    fractions: dict[_Part, _Share]
    subsets: dict[_Part, list[str]]


@dataclass(frozen=True)
class Split:
    """Which picture stands in which part.

    Attributes:
        names: File names per part, under the keys `SUBSETS`, in the dataset's order.
        seed: The seed it was made with.
        fractions: The shares of the real pictures that were asked for, in the order of `SUBSETS`.
        dataset_digest: `Dataset.digest()` of what was split.
    """

    names: dict[str, tuple[str, ...]]
    seed: int
    fractions: Fractions
    dataset_digest: str

    def subset_of(self, name: str) -> str:
        """The part in which the picture `name` stands.

        Raises:
            KeyError: The split does not know the picture.
        """
        for part, names in self.names.items():
            if name in names:
                return part
        raise KeyError(name)

    def shares(self) -> dict[str, float]:
        """The share of the real pictures that each part was to have."""
        return dict(zip(SUBSETS, self.fractions, strict=True))

    def real_sizes(self, dataset: Dataset) -> dict[str, int]:
        """How many pictures of each part are not declared synthetic."""
        real = {record.file_name for record in dataset.records if not record.synthetic}
        return {part: len(real.intersection(names)) for part, names in self.names.items()}

    def subset_by_name(self) -> dict[str, str]:
        """The part of every picture, by file name."""
        return {name: part for part, names in self.names.items() for name in names}


def make_split(
    dataset: Dataset,
    fractions: Fractions = DEFAULT_FRACTIONS,
    seed: int = 0,
    groups: Groups | None = None,
) -> Split:
    """Split a dataset by object and duplicate group, stratified over the four tasks at once.

    What each part is given is described at `training.data.partition.split_records`. Pictures that
    carry the mark of a generated picture count as synthetic, whatever their row says.

    Args:
        dataset: What to split.
        fractions: Shares of the real pictures for training, validation and test; they add to 1.
        seed: The same seed, dataset and groups give the same split.
        groups: File names that must stay together, beside those that share an `object_id`. None
            looks for duplicates and near duplicates, which decodes every picture.

    Raises:
        UserError: The fractions are not shares of one.
    """
    found = duplicate_groups(dataset) if groups is None else groups
    names = split_records(_truthful(dataset), fractions, seed, found)
    return Split(names, seed, fractions, dataset.digest())


def make_folds(
    dataset: Dataset,
    folds: int,
    seed: int = 0,
    groups: Groups | None = None,
    validation: float = 0.1,
) -> tuple[Split, ...]:
    """Grouped, stratified k-fold cross-validation; repeat it with other seeds.

    Args:
        dataset: What to split.
        folds: How many; every real picture is tested in exactly one of them.
        seed: The same seed, dataset and groups give the same folds.
        groups: As for `make_split`.
        validation: Share of the real pictures, outside the tested fold, kept for validation.

    Raises:
        UserError: Fewer than two folds, more folds than objects, or no room for training.
    """
    found = duplicate_groups(dataset) if groups is None else groups
    parts = fold_records(_truthful(dataset), folds, seed, found, validation)
    digest = dataset.digest()
    fractions = (1 - 1 / folds - validation, validation, 1 / folds)
    return tuple(Split(names, seed, fractions, digest) for names in parts)


def write_split(path: Path, split: Split) -> None:
    """Write `split.json` atomically."""
    content = SplitFile.model_validate(
        {
            "seed": split.seed,
            "dataset_digest": split.dataset_digest,
            "fractions": dict(zip(SUBSETS, split.fractions, strict=True)),
            "subsets": {part: list(split.names[part]) for part in SUBSETS},
        }
    )
    write_text(path, content.model_dump_json(indent=2) + "\n")


def read_split(path: Path) -> Split:
    """Read `split.json` without comparing it to a dataset.

    Raises:
        DatasetError: It is missing, not valid, or puts one picture in two parts.
    """
    if not path.is_file():
        raise DatasetError(f"There is no split file {path}; make one with: porcelain data split")
    try:
        content = SplitFile.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "content"
        raise DatasetError(f"{path} is not a valid split file: {place}: {first['msg']}") from error
    parts = {str(part): tuple(names) for part, names in content.subsets.items()}
    absent = [part for part in SUBSETS if part not in parts]
    if absent:
        raise DatasetError(f"{path} has no subset {absent[0]}; make it anew with --overwrite.")
    seen = Counter(name for names in parts.values() for name in names)
    twice = [name for name, count in seen.items() if count > 1]
    if twice:
        raise DatasetError(f"{path} names {twice[0]} more than once; each picture has one part.")
    shares = {str(part): share for part, share in content.fractions.items()}
    train, validation, test = (shares.get(part, 0.0) for part in SUBSETS)
    names = {part: parts[part] for part in SUBSETS}
    return Split(names, content.seed, (train, validation, test), content.dataset_digest)


def load_split(path: Path, dataset: Dataset) -> Split:
    """Read `split.json` and hold it against the dataset it is to be used with.

    Raises:
        DatasetError: As `read_split`; or it names pictures that the dataset does not have, lacks
            pictures that it has, or puts a synthetic picture outside the training part.
    """
    split = read_split(path)
    parts = split.subset_by_name()
    known = {record.file_name for record in dataset.records}
    strange = sorted(parts.keys() - known)
    if strange:
        raise DatasetError(
            f"{path} names {len(strange)} picture(s) that {dataset.root} does not have, first "
            f"{strange[0]}; make the split anew for this dataset."
        )
    absent = sorted(known - parts.keys())
    if absent:
        raise DatasetError(
            f"{path} says nothing of {len(absent)} picture(s) of {dataset.root}, first "
            f"{absent[0]}; make the split anew for this dataset."
        )
    judged = (record for record in dataset.records if parts[record.file_name] != "train")
    leaked = next((record for record in judged if _is_synthetic(dataset, record)), None)
    if leaked is not None:
        raise DatasetError(
            f"{path} puts the synthetic picture {leaked.file_name} into "
            f"{parts[leaked.file_name]}; synthetic pictures may only be trained on."
        )
    return split


def split_or_make(
    dataset: Dataset,
    path: Path | None,
    seed: int = 0,
    fractions: Fractions = DEFAULT_FRACTIONS,
    groups: Groups | None = None,
) -> Split:
    """The split at `path`, or else the one beside the dataset, or else a new one.

    Raises:
        DatasetError: As `load_split`.
    """
    if path is not None:
        return load_split(path, dataset)
    beside = dataset.root / SPLIT_FILE
    if beside.is_file():
        return load_split(beside, dataset)
    return make_split(dataset, fractions, seed, groups)


def _truthful(dataset: Dataset) -> list[Record]:
    """The rows, with every picture that carries the mark declared synthetic."""
    return [replace(r, synthetic=_is_synthetic(dataset, r)) for r in dataset.records]


def _is_synthetic(dataset: Dataset, record: Record) -> bool:
    return record.synthetic or is_marked_synthetic(dataset.path(record))
