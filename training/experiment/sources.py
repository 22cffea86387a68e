"""The folders that pictures are added from, and what they must not have seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from porcelain.dataset import Dataset, Record, load_dataset
from porcelain.errors import DatasetError, UserError
from training.data.duplicates import find_duplicates
from training.data.fingerprints import Fingerprint, fingerprint_dataset
from training.data.mix import check_labels
from training.experiment.arms import RESERVED, SYNTHETIC, UNTUNED
from training.experiment.records import Picture
from training.generator.synthesis.candidates import VARIATION_COLUMN
from training.generator.synthesis.learned import Learned, read_learned

FOLD_PLACE: Final = "{fold}"
"""Stands for the fold's number in the name of a folder made for each fold."""


@dataclass(frozen=True)
class Source:
    """One folder of pictures to add.

    Attributes:
        role: What arms know it by.
        fold: The fold that it was made for; None where it serves all.
        root: Where it is.
        records: Its usable rows.
        learned: The photographs that it has learned from.
        digest: Of the folder.
    """

    role: str
    fold: int | None
    root: Path
    records: tuple[Record, ...]
    learned: Learned
    digest: str

    @property
    def name(self) -> str:
        """Such as `synthetic` or `synthetic.fold-2`."""
        return source_name(self.role, self.fold)


def source_name(role: str, fold: int | None) -> str:
    """What a role's folder for a fold is called."""
    return role if fold is None else f"{role}.fold-{fold}"


def parse_folders(texts: Sequence[str]) -> dict[str, str]:
    """Read `NAME=DIR`.

    Raises:
        UserError: Not of this form, or a name that is taken.
    """
    folders: dict[str, str] = {}
    for text in texts:
        name, _, folder = text.partition("=")
        plain = name.isascii() and name.replace("_", "").isalnum() and name == name.lower()
        if not folder or not plain or name in folders or name in RESERVED | {SYNTHETIC}:
            raise UserError(
                f"--folder {text!r} must be NAME=DIR, such as variations=data/variations, with a "
                "name of lower-case letters, digits and underscores that no other arm has."
            )
        folders[name] = folder
    return folders


def open_sources(
    folders: Mapping[str, str],
    folds: int,
    photographs: Dataset,
    declared: Learned | None,
    base: Learned | None = None,
) -> list[Source]:
    """Read every folder.

    Args:
        folders: Path per role; `{fold}` in it stands for the number of the fold.
        folds: How many there are.
        photographs: The real pictures, whose labels are the ones that there are.
        declared: What folders have learned from that do not say so themselves; None refuses them.
        base: What the base under their generators has learned from, where it does not say so.

    Raises:
        DatasetError: A folder cannot be read, has labels of its own, or does not say what it has
            learned from.
    """
    sources = []
    for role, path in folders.items():
        numbers = range(folds) if FOLD_PLACE in path else [None]
        for fold in numbers:
            root = Path(path if fold is None else path.replace(FOLD_PLACE, str(fold)))
            dataset = load_dataset(root)
            check_labels(photographs, dataset)
            learned = _learned_of(root, role, declared, base)
            records = tuple(replace(record, synthetic=True) for record in dataset.records)
            sources.append(Source(role, fold, root, records, learned, dataset.digest()))
    return sources


def _learned_of(root: Path, role: str, declared: Learned | None, base: Learned | None) -> Learned:
    """What a folder has learned from, as it says itself or somebody declares."""
    learned = read_learned(root)
    if learned is None and role == UNTUNED:
        learned = Learned(base_known=False)  # it comes from the base alone
    learned = learned or declared
    if learned is None:
        raise DatasetError(
            f"{root} does not say which photographs its generator and filter have learned from (it "
            "has no learned.json); synthesise it anew, or name them with --learned SPLIT, the "
            "split.json that they were trained by, or --learned none where no photograph has "
            "taught them, as with rendered pictures."
        )
    if not learned.base_known and base is not None:
        return learned.join(base).model_copy(update={"base_known": True})
    if role == UNTUNED:
        check_base_known(learned, root)
    return learned


def check_base_known(learned: Learned, what: Path) -> None:
    """Refuse an untuned base of which nobody says what it has learned from.

    Raises:
        DatasetError: Nobody does.
    """
    if not learned.base_known:
        raise DatasetError(
            f"{what}: its base does not say which photographs it has learned from, so nobody knows "
            "what the arm untuned may be tested on. Declare them: --base-learned none where it has "
            "seen none of these photographs, or --base-learned SPLIT, the split.json by whose "
            "training part it was trained."
        )


@dataclass(frozen=True)
class EvaluationSet:
    """The photographs that a folder must not have met: file names."""

    validation: frozenset[str]
    test: frozenset[str]


def check_leaks(
    sources: Sequence[Source],
    evaluated: Mapping[int | None, EvaluationSet],
    digests: Mapping[str, str],
) -> None:
    """Refuse folders that have learned from photographs that they are to be judged by.

    Args:
        sources: The folders.
        evaluated: Per fold that folders are made for; None for those that serve all.
        digests: SHA-256 of each photograph, by file name.

    Raises:
        DatasetError: One has.
    """
    for source in sources:
        part = evaluated[source.fold]
        leaked = sorted(
            learned_names(source, digests) & part.test
            | learned_names(source, digests, calibrated=False) & part.validation
        )
        if leaked:
            raise DatasetError(
                f"{source.root}: its generator or filter has learned from {len(leaked)} "
                f"photograph(s) that it would be judged by, first {leaked[0]}. Train them inside "
                "each fold (`porcelain experiment split`, then one folder per fold), or begin a "
                "new --out, which keeps those photographs in training."
            )


def without_copies(
    sources: Sequence[Source],
    prints: Sequence[Fingerprint],
    pictures: Sequence[Picture],
    evaluated: Mapping[int | None, EvaluationSet],
) -> tuple[list[Source], list[str]]:
    """Leave out what cannot be read, and what copies a photograph that is judged by.

    Args:
        sources: As read.
        prints: Of the photographs.
        pictures: The photographs.
        evaluated: Per fold that folders are made for; None for those that serve all.

    Returns:
        The sources with their usable rows, and what was left out, in sentences.
    """
    result, notes = [], []
    group = {picture.file_name: picture.object_id for picture in pictures}
    for source in sources:
        own = fingerprint_dataset(Dataset(source.root, source.records))
        every = [*prints, *own]
        copied: dict[int, set[str]] = {}
        for pair in find_duplicates(every):
            if pair.first < len(prints) <= pair.second:
                copied.setdefault(pair.second - len(prints), set()).add(every[pair.first].name)
        kept, unreadable, copies = [], 0, 0
        for row, record in enumerate(source.records):
            base = group.get(record.extra.get(VARIATION_COLUMN, ""))
            others = {name for name in copied.get(row, ()) if base is None or group[name] != base}
            if own[row].problem is not None:
                unreadable += 1
            elif others & (evaluated[source.fold].validation | evaluated[source.fold].test):
                copies += 1
            else:
                kept.append(record)
        if unreadable:
            notes.append(f"{source.root}: left out {unreadable} picture(s) that cannot be read.")
        if copies:
            notes.append(
                f"{source.root}: left out {copies} picture(s) that copy a photograph that is "
                "tested."
            )
        result.append(replace(source, records=tuple(kept)))
    return result, notes


def learned_names(
    source: Source, digests: Mapping[str, str], *, calibrated: bool = True
) -> set[str]:
    """File names of the photographs that a source has learned from.

    Args:
        source: The folder.
        digests: SHA-256 of each photograph, by file name.
        calibrated: Whether those count that a filter was only calibrated on.
    """
    known = source.learned.trained
    if calibrated:
        known = known | source.learned.validated
    return {name for name, digest in digests.items() if digest in known} | (
        source.learned.names & digests.keys()
    )
