"""Sampling until the plan is met: what the filter drops is sampled again, with other seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from training.data.allotment import Kind
from training.generator.synthesis.candidates import Candidate
from training.generator.synthesis.filtering import Verdict
from training.generator.synthesis.plan import Plan

Fetch = Callable[[Sequence[Candidate]], Sequence[Path]]
Judge = Callable[[Sequence[Candidate], Sequence[Path]], list[Verdict]]


class Watcher(Protocol):
    """Hears how far the rounds are."""

    def __call__(self, kept: int, sampled: int) -> None:
        """Called after every batch."""


def sample_until_met(
    plan: Plan,
    candidate: Callable[[Kind, int], Candidate],
    *,
    attempts: int,
    batch_size: int,
    fetch: Fetch,
    judge: Judge,
    watch: Watcher,
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
        watch: Hears how far it is.

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
            watch(kept.total(), len(verdicts))


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
