"""Train, validation and test parts of a dataset: grouped, stratified, seeded, kept in a file.

Photographs of one object and copies of one picture never straddle two parts, and a synthetic
picture is only ever in the training part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from porcelain.bundle import SPLIT_FILE
from porcelain.dataset import Dataset, Record
from porcelain.errors import DatasetError, UserError
from porcelain.files import write_text
from porcelain.vocabulary import TASKS
from training.data.groups import join_groups
from training.data.stratification import Counts, favour_rare, stratify, wanted_counts

SUBSETS: Final = ("train", "validation", "test")
DEFAULT_FRACTIONS: Final = (0.8, 0.1, 0.1)

Fractions = tuple[float, float, float]
Groups = Iterable[Iterable[str]]

_TRAIN, _VALIDATION, _TEST = range(3)
# A label carried by fewer groups than this is not asked for in the part.
_LEAST_GROUPS_FOR_TEST = 2
_LEAST_GROUPS_FOR_VALIDATION = 4


class SplitFile(BaseModel):
    """The content of `split.json`."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    seed: int
    dataset_digest: str
    fractions: dict[Literal["train", "validation", "test"], Annotated[float, Field(ge=0, le=1)]]
    subsets: dict[Literal["train", "validation", "test"], list[str]]


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
        for subset, names in self.names.items():
            if name in names:
                return subset
        raise KeyError(name)

    def subset_by_name(self) -> dict[str, str]:
        """The part of every picture, by file name."""
        return {name: subset for subset, names in self.names.items() for name in names}


def make_split(
    dataset: Dataset,
    fractions: Fractions = DEFAULT_FRACTIONS,
    seed: int = 0,
    groups: Groups | None = None,
) -> Split:
    """Split a dataset by object and duplicate group, stratified over the four tasks at once.

    Every label has a picture in the training part; one that at least two groups carry is also
    asked for in the test part, and one that four carry in the validation part.

    Args:
        dataset: What to split.
        fractions: Shares of the real pictures for training, validation and test; they add to 1.
        seed: The same seed, dataset and groups give the same split.
        groups: File names that must stay together, beside those that share an `object_id`. None
            looks for duplicates and near duplicates, which decodes every picture.

    Raises:
        UserError: The fractions are not shares of one.
    """
    names = split_records(dataset.records, fractions, seed, _groups(dataset, groups))
    return Split(names, seed, fractions, dataset.digest())


def split_records(
    records: Sequence[Record], fractions: Fractions, seed: int, groups: Groups = ()
) -> dict[str, tuple[str, ...]]:
    """As `make_split`, from the rows alone: file names per part.

    Raises:
        UserError: The fractions are not shares of one, or leave nothing for training.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise UserError(
            f"The shares {', '.join(f'{f:g}' for f in fractions)} of train, validation and test "
            "must be three numbers from 0 to 1 that add to 1."
        )
    if fractions[_TRAIN] <= 0:
        raise UserError("The training part needs a share above 0.")
    members = join_groups(records, groups)
    bound = [i for i, group in enumerate(members) if any(records[j].synthetic for j in group)]
    free = sorted(set(range(len(members))) - set(bound))
    counts, sizes = _tables(records, members)
    share = np.asarray(fractions, dtype=np.float64)
    priority = [(_TEST, _LEAST_GROUPS_FOR_TEST), (_VALIDATION, _LEAST_GROUPS_FOR_VALIDATION)]
    priority = [(subset, least) for subset, least in priority if fractions[subset] > 0]
    wanted = favour_rare(wanted_counts(counts, share), counts, priority)
    wanted_sizes = share * sizes.sum()
    # Real pictures bound to a synthetic one are in the training part already.
    wanted[_TRAIN] -= counts[bound].sum(axis=0)
    wanted_sizes[_TRAIN] -= sizes[bound].sum()
    placed = np.full(len(members), _TRAIN, dtype=np.int64)
    rng = np.random.default_rng(seed)
    placed[free] = stratify(counts[free], sizes[free], wanted, wanted_sizes, rng)
    _teach_every_label(placed, counts, sizes)
    return _names(records, members, placed)


def make_folds(
    dataset: Dataset,
    folds: int,
    seed: int = 0,
    groups: Groups | None = None,
    validation: float = 0.1,
) -> tuple[Split, ...]:
    """Grouped, stratified k-fold cross-validation; repeat it with other seeds.

    Every real picture is tested exactly once over the folds.

    Args:
        dataset: What to split.
        folds: How many.
        seed: The same seed, dataset and groups give the same folds.
        groups: As for `make_split`.
        validation: Share of the real pictures, outside the tested fold, kept for validation.

    Raises:
        UserError: Fewer than two folds, more folds than groups, or no room for training.
    """
    if folds < 2 or not 0 <= validation < 1 - 1 / folds:
        raise UserError("Give at least 2 folds, and a validation share that leaves some to train.")
    records = dataset.records
    members = join_groups(records, _groups(dataset, groups))
    free = [i for i, group in enumerate(members) if not any(records[j].synthetic for j in group)]
    if len(free) < folds:
        raise UserError(f"{folds} folds need as many objects; the dataset has {len(free)}.")
    counts, sizes = _tables(records, members)
    share = np.full(folds, 1 / folds)
    rng = np.random.default_rng(seed)
    fold_of = np.full(len(members), -1, dtype=np.int64)
    wanted = wanted_counts(counts[free], share)
    fold_of[free] = stratify(counts[free], sizes[free], wanted, share * sizes[free].sum(), rng)
    digest = dataset.digest()
    rest = np.asarray([1 - validation * folds / (folds - 1), validation * folds / (folds - 1)])
    splits = []
    for fold in range(folds):
        others = [i for i in free if fold_of[i] != fold]
        wanted = wanted_counts(counts[others], rest)
        wanted_sizes = rest * sizes[others].sum()
        placed = np.where(fold_of == fold, _TEST, _TRAIN)
        placed[others] = stratify(counts[others], sizes[others], wanted, wanted_sizes, rng)
        fractions = (1 - 1 / folds - validation, validation, 1 / folds)
        splits.append(Split(_names(records, members, placed), seed, fractions, digest))
    return tuple(splits)


def write_split(path: Path, split: Split) -> None:
    """Write `split.json` atomically."""
    content = SplitFile(
        seed=split.seed,
        dataset_digest=split.dataset_digest,
        fractions=dict(zip(SUBSETS, split.fractions, strict=True)),
        subsets={subset: list(split.names[subset]) for subset in SUBSETS},
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
        content = SplitFile.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is not a valid split file: {_first_fault(error)}") from error
    absent = [subset for subset in SUBSETS if subset not in content.subsets]
    if absent:
        raise DatasetError(f"{path} has no subset {absent[0]}; make it anew with --overwrite.")
    names = {subset: tuple(content.subsets[subset]) for subset in SUBSETS}
    seen = Counter(name for part in names.values() for name in part)
    twice = [name for name, count in seen.items() if count > 1]
    if twice:
        raise DatasetError(f"{path} names {twice[0]} more than once; each picture has one part.")
    train, validation, test = (content.fractions.get(subset, 0.0) for subset in SUBSETS)
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
    leaked = [r.file_name for r in dataset.records if r.synthetic and parts[r.file_name] != "train"]
    if leaked:
        raise DatasetError(
            f"{path} puts the synthetic picture {leaked[0]} into {parts[leaked[0]]}; synthetic "
            "pictures may only be trained on."
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


def _groups(dataset: Dataset, groups: Groups | None) -> Groups:
    return () if groups is None else groups


def _tables(records: Sequence[Record], members: list[list[int]]) -> tuple[Counts, Counts]:
    """Real pictures per group and label [G, L], and per group [G]."""
    labels = sorted({(t, r.labels[t]) for r in records for t in TASKS if r.labels[t]})
    column = {label: i for i, label in enumerate(labels)}
    counts = np.zeros((len(members), len(labels)), dtype=np.int64)
    sizes = np.zeros(len(members), dtype=np.int64)
    for row, group in enumerate(members):
        for record in (records[i] for i in group if not records[i].synthetic):
            sizes[row] += 1
            for task in TASKS:
                if record.labels[task]:
                    counts[row, column[task, record.labels[task]]] += 1
    return counts, sizes


def _teach_every_label(placed: Counts, counts: Counts, sizes: Counts) -> None:
    """Move a group into the training part for every label that is not there yet."""
    for label in np.flatnonzero(counts[placed == _TRAIN].sum(axis=0) == 0):
        carriers = np.flatnonzero(counts[:, label])
        if len(carriers) and not (placed[carriers] == _TRAIN).any():
            placed[carriers[np.argmin(sizes[carriers])]] = _TRAIN


def _names(
    records: Sequence[Record], members: list[list[int]], placed: Counts
) -> dict[str, tuple[str, ...]]:
    part = {i: int(placed[row]) for row, group in enumerate(members) for i in group}
    return {
        subset: tuple(r.file_name for i, r in enumerate(records) if part[i] == number)
        for number, subset in enumerate(SUBSETS)
    }


def _first_fault(error: ValidationError | UnicodeDecodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8."
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
