"""Which kinds of object receive a mix's synthetic pictures."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from porcelain.dataset import Record
from training.data.ratio import Rule

Kind = tuple[str | None, ...]
"""The labels of one record for the tasks looked at: one kind of object."""


def allot(
    total: int,
    rule: Rule,
    available: Mapping[Kind, int],
    real: Sequence[Counter[str]],
) -> dict[Kind, int]:
    """Pictures to take of each kind; they add to `total`.

    Args:
        total: Pictures to take; at most as many as are available.
        rule: How the kinds share them.
        available: Synthetic pictures per kind. A kind never gives more; what it cannot give goes
            to the others.
        real: Real training pictures per label, for each task in a kind's order.
    """
    kinds = sorted(available, key=lambda kind: tuple(label or "" for label in kind))
    weights = _weights(rule, kinds, real)
    taken = dict.fromkeys(kinds, 0)
    while missing := total - sum(taken.values()):
        open_kinds = [kind for kind in kinds if taken[kind] < available[kind]]
        shares = share_out(missing, [weights[kind] for kind in open_kinds])
        for kind, count in zip(open_kinds, shares, strict=True):
            taken[kind] += min(count, available[kind] - taken[kind])
    return taken


def share_out(total: int, weights: Sequence[float]) -> list[int]:
    """Whole shares of `total` in proportion to `weights`; they add to it."""
    shares = np.asarray(weights, dtype=np.float64)
    wanted = total * shares / shares.sum()
    whole = np.floor(wanted + 1e-9).astype(np.int64)
    # The largest remainders receive what rounding down left over.
    for i in np.argsort(whole - wanted, kind="stable")[: total - int(whole.sum())]:
        whole[i] += 1
    result: list[int] = whole.tolist()
    return result


def draw(
    records: Sequence[Record], tasks: Sequence[str], taken: Mapping[Kind, int], seed: int
) -> list[Record]:
    """Draw as many records of each kind as `taken` says, at random by `seed`, in file order."""
    by_kind = group_by_kind(records, tasks)
    rng = np.random.default_rng(seed)
    chosen = set()
    for kind in taken:
        members = by_kind[kind]
        for i in rng.permutation(len(members))[: taken[kind]]:
            chosen.add(members[int(i)].file_name)
    return [record for record in records if record.file_name in chosen]


def group_by_kind(records: Sequence[Record], tasks: Sequence[str]) -> dict[Kind, list[Record]]:
    """Records by their labels for `tasks`."""
    kinds: dict[Kind, list[Record]] = defaultdict(list)
    for record in records:
        kinds[tuple(record.labels[task] for task in tasks)].append(record)
    return kinds


def _weights(rule: Rule, kinds: Sequence[Kind], real: Sequence[Counter[str]]) -> dict[Kind, float]:
    if rule is Rule.UNIFORM:
        return dict.fromkeys(kinds, 1.0)
    # A class's share is divided among the kinds that show it, so that a class which occurs in
    # many combinations is not served many times.
    carriers = [Counter(kind[i] for kind in kinds) for i in range(len(real))]
    result = {}
    for kind in kinds:
        weight = 0.0
        for i, label in enumerate(kind):
            if label is not None:
                count = max(real[i][label], 1)
                weight += (1 / count if rule is Rule.RARITY else count) / carriers[i][label]
        # Kinds without any of the labels come last, but come if nothing else is left.
        result[kind] = max(weight, 1e-9)
    return result
