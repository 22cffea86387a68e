"""The filter, which applies every rule to every candidate, and sampling until the plan is met."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from porcelain.images import decode_image
from porcelain.predictor import Predictor
from training.classifier.evaluation.inference import answer
from training.data.allotment import Kind
from training.data.fingerprints import fingerprint
from training.generator.synthesis.candidates import Candidate
from training.generator.synthesis.checks import (
    DefectLimits,
    Reading,
    Reason,
    Tones,
    find_defects,
    measure_tones,
    misread_tasks,
    read_labels,
)
from training.generator.synthesis.copies import (
    CopyThresholds,
    Descriptors,
    NearestPhotographs,
    Photographs,
    describe_nearest,
    descriptors_of,
    find_repeats,
    pair_distances,
)
from training.generator.synthesis.plan import Plan, labels_of


@dataclass(frozen=True)
class Verdict:
    """What the filter says of one candidate.

    Attributes:
        candidate: What it was to show.
        path: File of the picture.
        reasons: Why it is dropped; none for a picture that is kept.
        readings: The classifier's, per task.
        misread: The tasks that it reads otherwise.
        tones: What defects were judged by.
        nearest: The photographs nearest to it; None without any.
        repeated: Name of the kept candidate that it repeats.
    """

    candidate: Candidate
    path: Path
    reasons: tuple[Reason, ...]
    readings: Mapping[str, Reading]
    misread: tuple[str, ...]
    tones: Tones
    nearest: NearestPhotographs | None
    repeated: str | None

    @property
    def kept(self) -> bool:
        """Whether no rule objects."""
        return not self.reasons


class Filter:
    """Judges candidates batch by batch and remembers what it kept.

    Attributes:
        thresholds: From which likeness two pictures are one.
    """

    def __init__(
        self,
        *,
        predictor: Predictor | None,
        photographs: Photographs | None,
        agreement: Mapping[str, float],
        defects: DefectLimits,
    ) -> None:
        """Set the rules up.

        Args:
            predictor: Reads labels and gives features; None does without both.
            photographs: What none may copy; None lets everything pass.
            agreement: Per task, the least probability of a planned label.
            defects: Where a picture is blank, noise or burnt.
        """
        self._predictor = predictor
        self._photographs = photographs
        self._agreement = agreement
        self._defects = defects
        self.thresholds = CopyThresholds() if photographs is None else photographs.thresholds
        self._kept: Descriptors | None = None

    def judge(self, candidates: Sequence[Candidate], paths: Sequence[Path]) -> list[Verdict]:
        """Apply every rule to pictures that were sampled one after the other."""
        pairs = zip(paths, candidates, strict=True)
        prints = [fingerprint(path, candidate.name) for path, candidate in pairs]
        readings, features = self._read(candidates, paths)
        descriptors = descriptors_of(prints, features)
        tones = [measure_tones(_pixels(path)) for path in paths]
        nearest = self._nearest(descriptors)
        misread = [misread_tasks(item, self._agreement) for item in readings]
        reasons: list[list[Reason]] = []
        for tone, near, tasks in zip(tones, nearest, misread, strict=True):
            found = [Reason.MISREAD] if tasks else []
            if near is not None and near.copied is not None:
                found.append(Reason.COPY)
            reasons.append(found + find_defects(tone, self._defects))
        repeated = self._remember(descriptors, np.asarray([not found for found in reasons]))
        return [
            Verdict(
                candidate=candidates[i],
                path=paths[i],
                reasons=(*reasons[i], Reason.REPEAT) if repeated[i] else tuple(reasons[i]),
                readings=readings[i],
                misread=misread[i],
                tones=tones[i],
                nearest=nearest[i],
                repeated=repeated[i],
            )
            for i in range(len(candidates))
        ]

    def _read(
        self, candidates: Sequence[Candidate], paths: Sequence[Path]
    ) -> tuple[list[dict[str, Reading]], npt.NDArray[np.float32] | None]:
        if self._predictor is None:
            return [{} for _ in candidates], None
        answers = answer(self._predictor, paths, features=True)
        classes = self._predictor.info.labels
        readings = [
            read_labels(
                labels_of(candidate.kind),
                {task: rows[i] for task, rows in answers.probabilities.items()},
                classes,
            )
            for i, candidate in enumerate(candidates)
        ]
        return readings, answers.features

    def _nearest(self, descriptors: Descriptors) -> list[NearestPhotographs | None]:
        if self._photographs is None:
            return [None] * len(descriptors)
        near = pair_distances(descriptors, self._photographs.descriptors)
        return list(describe_nearest(near, self._photographs.descriptors.names, self.thresholds))

    def _remember(
        self, descriptors: Descriptors, passing: npt.NDArray[np.bool_]
    ) -> list[str | None]:
        """Whom each repeats; what repeats nobody and passes is kept."""
        kept = descriptors.take([]) if self._kept is None else self._kept
        everyone = kept.join(descriptors)
        copies = pair_distances(descriptors, everyone).copies(self.thresholds)
        copied = find_repeats(copies[:, : len(kept)], copies[:, len(kept) :], passing)
        staying = [i for i, other in enumerate(copied) if passing[i] and other is None]
        self._kept = kept.join(descriptors.take(staying))
        return [None if other is None else everyone.names[other] for other in copied]


def _pixels(path: Path) -> npt.NDArray[np.uint8]:
    return np.asarray(decode_image(path.read_bytes()).pixels)


Fetch = Callable[[Sequence[Candidate]], Sequence[Path]]
Judge = Callable[[Sequence[Candidate], Sequence[Path]], list[Verdict]]


class SamplingProgress(Protocol):
    """Hears how far the rounds are."""

    def __call__(self, kept: int, sampled: int) -> None:
        """Called after every batch."""


def rejection_sample(
    plan: Plan,
    candidate: Callable[[Kind, int], Candidate],
    *,
    attempts: int,
    batch_size: int,
    fetch: Fetch,
    judge: Judge,
    on_progress: SamplingProgress,
) -> list[Verdict]:
    """Sample and judge, round by round, until nothing is missing or to be tried any more.

    A round samples what is missing of every kind, no more: nothing that passes is thrown away.

    Args:
        plan: What is wanted.
        candidate: The candidate of a kind and an attempt.
        attempts: Most pictures sampled of a kind, as a multiple of those planned.
        batch_size: Pictures sampled at once.
        fetch: Samples a batch.
        judge: Applies the filter to a batch.
        on_progress: Hears how far it is.

    Returns:
        Every verdict, in the order of sampling.
    """
    verdicts: list[Verdict] = []
    tried: Counter[Kind] = Counter()
    kept: Counter[Kind] = Counter()
    while True:
        wanted = [
            candidate(kind, attempt)
            for kind, attempt in _next_attempts(plan, tried, kept, attempts)
        ]
        if not wanted:
            return verdicts
        for batch in _batches(wanted, batch_size):
            judged = judge(batch, fetch(batch))
            verdicts += judged
            tried.update(verdict.candidate.kind for verdict in judged)
            kept.update(verdict.candidate.kind for verdict in judged if verdict.kept)
            on_progress(kept.total(), len(verdicts))


def _next_attempts(
    plan: Plan, tried: Mapping[Kind, int], kept: Mapping[Kind, int], attempts: int
) -> Iterator[tuple[Kind, int]]:
    """Kind and attempt of what a round samples."""
    for planned in plan.kinds:
        done = tried[planned.kind]
        left = attempts * planned.count - done
        for attempt in range(done, done + min(planned.count - kept[planned.kind], left)):
            yield planned.kind, attempt


def _batches(items: Sequence[Candidate], size: int) -> Iterator[Sequence[Candidate]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
