"""Which pictures of a folder may judge a bundle: by content, not by name.

A renamed or copied training picture is still a training picture, so what was trained on is known
by the SHA-256 of the file, which the bundle keeps in `digests.json`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from porcelain.bundle import CLASSIFIER_MODEL_FILE, Bundle
from porcelain.dataset import Dataset, Record
from porcelain.errors import UserError
from porcelain.files import sha256_file
from training.data.digests import DIGESTS_FILE, known_parts

Subset = Literal["auto", "train", "validation", "test", "all"]


@dataclass(frozen=True)
class Selection:
    """The pictures to evaluate.

    Attributes:
        subset: Which they are; `auto` without digests to tell pictures apart is `all`.
        records: The rows chosen, in file order.
        objects: What each shows: its `object_id`, or its content where none is recorded, so that
            copies of one picture count as one object.
        left_out: How many pictures were left out, by reason.
        graph: The bundle's graph to judge on them: the one that is served, or, where pictures
            of the bundle's own data are among them, the one that learned from no test picture.
        warnings: What the reader of the result must know, one sentence each.
    """

    subset: Subset
    records: tuple[Record, ...]
    objects: tuple[str, ...]
    left_out: dict[str, int]
    graph: str
    warnings: tuple[str, ...]


def select(dataset: Dataset, bundle: Bundle, subset: Subset) -> Selection:
    """Choose the pictures of `dataset` that `subset` names.

    `auto` takes the real pictures whose content the bundle was neither trained nor validated on.

    Raises:
        UserError: Nothing is left, or the subset needs digests that the bundle does not hold.
        BundleError: `digests.json` is not what this version writes.
    """
    digests = content_digests(dataset)
    parts = known_parts(bundle)
    if not parts and subset in ("train", "validation", "test"):
        raise UserError(
            f"{bundle.path} has no {DIGESTS_FILE}, so its {subset} pictures are not known; use "
            "--subset all, or train the bundle anew."
        )
    reasons = [
        _reason_to_leave_out(record, parts.get(digest), subset)
        for record, digest in zip(dataset.records, digests, strict=True)
    ]
    kept = [i for i, reason in enumerate(reasons) if reason is None]
    if not kept:
        raise UserError(_nothing_left(dataset, subset))
    own = any(digests[i] in parts for i in kept)
    return Selection(
        subset=subset if parts else "all",
        records=tuple(dataset.records[i] for i in kept),
        objects=tuple(dataset.records[i].object_id or f"sha256:{digests[i]}" for i in kept),
        left_out=dict(Counter(reason for reason in reasons if reason is not None)),
        graph=bundle.measured_graph if own else CLASSIFIER_MODEL_FILE,
        warnings=tuple(_warnings(bundle, parts, [digests[i] for i in kept], subset)),
    )


def content_digests(dataset: Dataset) -> list[str]:
    """SHA-256 of every picture's file, in file order."""
    # Hashing and reading release the interpreter lock.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(lambda record: sha256_file(dataset.path(record)), dataset.records))


def _reason_to_leave_out(record: Record, part: str | None, subset: Subset) -> str | None:
    if subset == "all":
        return None
    if subset == "auto":
        if part in ("train", "validation"):
            return f"used in {'training' if part == 'train' else 'validation'}"
        return "synthetic" if record.synthetic else None
    return None if part == subset else f"not in the {subset} part"


def _nothing_left(dataset: Dataset, subset: Subset) -> str:
    if subset == "auto":
        return (
            f"The bundle was trained or validated on every picture of {dataset.root}, or they are "
            "synthetic; give other photographs, or --subset all for scores that flatter."
        )
    return (
        f"No picture of {dataset.root} is in the bundle's {subset} part; use --subset auto, or "
        "give the folder that the bundle was trained on."
    )


def _warnings(
    bundle: Bundle, parts: Mapping[str, str], digests: list[str], subset: Subset
) -> list[str]:
    if not parts:
        return [
            f"The bundle has no {DIGESTS_FILE}, so pictures it was trained on cannot be told "
            "apart; if there are any, every score here is too high."
        ]
    seen = sum(parts.get(digest) in ("train", "validation") for digest in digests)
    if seen:
        return [
            f"{seen} of the {len(digests)} pictures were used to train or validate the bundle; "
            "the scores flatter it."
        ]
    return []
