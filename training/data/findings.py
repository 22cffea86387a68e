"""What a check can find in a dataset folder: one function per question, none reads a file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from porcelain.dataset import Dataset, Record
from porcelain.image_formats import IMAGE_FORMATS
from porcelain.vocabulary import TASKS
from training.data.duplicates import DuplicatePair, join_pairs
from training.data.fingerprints import Fingerprint

TINY_SIDE: Final = 64
"""Pictures whose longest side is shorter have too little detail to learn a glaze from."""

LEAST_MEASURED: Final = 10
"""Pictures of a part under which one picture moves a score by more than ten points."""

_UNREADABLE = {
    "missing": "do not exist",
    "empty": "are empty (0 bytes)",
    "corrupt": "are corrupt or truncated",
    "unsupported": "are not pictures of a format or layout we read",
    "too_large": "are larger than the decoder's limits",
}


class Finding(BaseModel):
    """One fault, with every file that has it.

    Attributes:
        code: A fixed word for programs.
        severity: `error` where training would fail or its numbers mislead, else `warning`.
        message: What is wrong and what to do, in one sentence.
        files: The files concerned; for duplicates and contradictions, `one = other`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    severity: Literal["error", "warning"]
    message: str
    files: list[str] = []


def unreadable(prints: Sequence[Fingerprint]) -> Iterator[Finding]:
    """Pictures that cannot be decoded, by reason."""
    for problem, words in _UNREADABLE.items():
        names = [item.name for item in prints if item.problem == problem]
        if names:
            message = f"{len(names)} file(s) {words}; restore them or delete their rows."
            code = "missing_file" if problem == "missing" else f"{problem}_file"
            yield Finding(code=code, severity="error", message=message, files=names)


def oddities(prints: Sequence[Fingerprint]) -> Iterator[Finding]:
    """Readable pictures whose name misleads, that are tiny, or that show nothing."""
    wrong, tiny, blank = [], [], []
    for item in prints:
        if item.format is None or item.likeness is None:
            continue
        if PurePosixPath(item.name).suffix.lower() not in IMAGE_FORMATS[item.format].suffixes:
            wrong.append(f"{item.name} is {item.format}")
        if max(item.width, item.height) < TINY_SIDE:
            tiny.append(f"{item.name} ({item.width}x{item.height})")
        if int(item.likeness.thumbnail.max()) - int(item.likeness.thumbnail.min()) <= 2:
            blank.append(item.name)
    if wrong:
        message = f"{len(wrong)} file name(s) end in another format than the content's; rename."
        yield Finding(code="wrong_extension", severity="warning", message=message, files=wrong)
    if tiny:
        message = f"{len(tiny)} picture(s) are smaller than {TINY_SIDE} pixels; find larger ones."
        yield Finding(code="tiny_picture", severity="warning", message=message, files=tiny)
    if blank:
        message = f"{len(blank)} picture(s) are of one colour and show nothing; remove them."
        yield Finding(code="blank_picture", severity="warning", message=message, files=blank)


def undeclared_synthetic(dataset: Dataset, prints: Sequence[Fingerprint]) -> Iterator[Finding]:
    """Pictures that say they were generated, in rows that do not."""
    pairs = zip(dataset.records, prints, strict=True)
    names = [record.file_name for record, item in pairs if item.marked and not record.synthetic]
    if names:
        message = (
            f"{len(names)} picture(s) carry the mark of a generated picture but are not declared "
            "synthetic, and do not count as real; set their synthetic column to true."
        )
        yield Finding(code="undeclared_synthetic", severity="error", message=message, files=names)


def duplicates(prints: Sequence[Fingerprint], pairs: Sequence[DuplicatePair]) -> Iterator[Finding]:
    """Copies, exact and near, wherever they stand."""
    for exact, code, words in (
        (True, "exact_duplicate", "exact copies of another"),
        (
            False,
            "near_duplicate",
            "changed copies of another (resaved, resized, cropped, mirrored)",
        ),
    ):
        chosen = [pair for pair in pairs if (pair.kind != "near") == exact]
        if chosen:
            message = (
                f"{len(chosen)} picture(s) are {words}; delete all but one, or split with "
                "`porcelain data split`, which keeps copies together."
            )
            files = [_pair_text(prints, pair) for pair in chosen]
            yield Finding(code=code, severity="warning", message=message, files=files)


def leaks(
    dataset: Dataset,
    prints: Sequence[Fingerprint],
    pairs: Sequence[DuplicatePair],
    part_of: Mapping[str, str],
) -> Iterator[Finding]:
    """Copies, objects and generated pictures that cross from one part of a split to another.

    Args:
        dataset: The rows.
        prints: The pictures, in the rows' order.
        pairs: The copies among them.
        part_of: Part by file name; pictures without a part are passed over.
    """
    crossing = []
    for group in join_pairs(len(prints), pairs):
        names = [prints[i].name for i in group if prints[i].name in part_of]
        if len({part_of[name] for name in names}) > 1:
            crossing.append(" = ".join(f"{name} ({part_of[name]})" for name in names))
    if crossing:
        message = (
            f"{len(crossing)} picture(s) have copies in several parts of the split, which inflates "
            "every score; split anew with `porcelain data split --overwrite`."
        )
        yield Finding(
            code="duplicate_across_splits", severity="error", message=message, files=crossing
        )
    torn = [
        f"{key}: " + ", ".join(f"{r.file_name} ({part_of[r.file_name]})" for r in records)
        for key, records in _by_object(dataset.records, part_of).items()
        if len({part_of[r.file_name] for r in records}) > 1
    ]
    if torn:
        message = (
            f"{len(torn)} object(s) have photographs in several parts of the split; split anew "
            "with `porcelain data split --overwrite`."
        )
        yield Finding(code="object_across_splits", severity="error", message=message, files=torn)
    judged = [
        f"{record.file_name} ({part_of[record.file_name]})"
        for record, item in zip(dataset.records, prints, strict=True)
        if (record.synthetic or item.marked) and part_of.get(record.file_name, "train") != "train"
    ]
    if judged:
        message = (
            f"{len(judged)} synthetic picture(s) stand in validation or test; they may only be "
            "trained on."
        )
        yield Finding(
            code="synthetic_in_evaluation", severity="error", message=message, files=judged
        )


def parts(sizes: Mapping[str, int], fractions: Mapping[str, float]) -> Iterator[Finding]:
    """Parts of a split that got nothing of what they were to have, or too little to measure.

    Args:
        sizes: Real pictures per part.
        fractions: The share that each was to have; a part that was to have none may be empty.
    """
    for part, share in fractions.items():
        size = sizes.get(part, 0)
        if share > 0 and size == 0:
            message = (
                f"The {part} part is empty: too few objects for a share of {share:g}; give it a "
                "larger share, or bring more objects."
            )
            yield Finding(code="empty_part", severity="error", message=message)
        elif part != "train" and 0 < size < LEAST_MEASURED:
            message = (
                f"The {part} part has {size} picture(s), too few to measure anything by; give it "
                f"a larger share, or bring more pictures ({LEAST_MEASURED} are few)."
            )
            yield Finding(code="small_part", severity="warning", message=message)


def contradictions(
    dataset: Dataset, prints: Sequence[Fingerprint], pairs: Sequence[DuplicatePair]
) -> Iterator[Finding]:
    """Copies of one picture, or photographs of one object, that carry different labels."""
    found = []
    for group in join_pairs(len(prints), pairs):
        found += _disagreements([dataset.records[i] for i in group])
    if found:
        message = (
            f"{len(found)} contradiction(s): copies of one picture carry different labels; correct "
            "or blank them."
        )
        yield Finding(
            code="contradicting_duplicates", severity="error", message=message, files=found
        )
    everywhere = {record.file_name: "" for record in dataset.records}
    objects = []
    for key, records in _by_object(dataset.records, everywhere).items():
        objects += [f"{key}: {text}" for text in _disagreements(records)]
    if objects:
        message = (
            f"{len(objects)} contradiction(s): photographs of one object carry different labels; "
            "correct or blank them."
        )
        yield Finding(code="contradicting_object", severity="error", message=message, files=objects)


def labels(dataset: Dataset, minimum: int) -> Iterator[Finding]:
    """Tasks with nothing to tell apart, classes with too few real pictures, rows with no label."""
    real = Dataset(dataset.root, tuple(r for r in dataset.records if not r.synthetic))
    for task in TASKS:
        counts = real.counts(task)
        if len(counts) < 2:
            known = f"only {next(iter(counts))}" if counts else "no label"
            message = (
                f"Task {task} has {known}: there is nothing to tell apart, so it learns nothing."
            )
            yield Finding(code="single_class", severity="warning", message=message)
        rare = sorted((n, label) for label, n in counts.items() if n < minimum)
        if rare:
            listed = ", ".join(f"{label} ({n})" for n, label in rare)
            message = (
                f"{len(rare)} class(es) of {task} have fewer than {minimum} real pictures: "
                f"{listed}; find more, merge or blank them, or synthesise."
            )
            yield Finding(code="rare_class", severity="warning", message=message)
    empty = [r.file_name for r in dataset.records if not any(r.labels.values())]
    if empty:
        message = f"{len(empty)} picture(s) have no label at all and teach nothing."
        yield Finding(code="unlabelled", severity="warning", message=message, files=empty)


def _pair_text(prints: Sequence[Fingerprint], pair: DuplicatePair) -> str:
    text = f"{prints[pair.first].name} = {prints[pair.second].name}"
    if pair.kind == "near":
        text += f" ({'mirrored, ' if pair.mirrored else ''}similarity {pair.similarity:.3f})"
    return text


def _by_object(records: Sequence[Record], part_of: Mapping[str, str]) -> dict[str, list[Record]]:
    objects: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.object_id is not None and record.file_name in part_of:
            objects[record.object_id].append(record)
    return objects


def _disagreements(records: Sequence[Record]) -> list[str]:
    found = []
    for task in TASKS:
        known = [(r.file_name, label) for r in records if (label := r.labels[task]) is not None]
        if len({label for _, label in known}) > 1:
            found.append(f"{task}: " + " = ".join(f"{name} ({label})" for name, label in known))
    return found
