"""Which pictures must stay together: those of one object, and those that are copies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from porcelain.dataset import Record


class UnionFind:
    """Disjoint sets of 0 … size - 1 that can be joined."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def find(self, item: int) -> int:
        """The representative of the set that holds `item`: its smallest member."""
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def union(self, one: int, other: int) -> None:
        """Join the sets of two items."""
        low, high = sorted((self.find(one), self.find(other)))
        self._parent[high] = low

    def sets(self) -> list[list[int]]:
        """Every set, each in ascending order, ordered by smallest member."""
        members: dict[int, list[int]] = {}
        for item in range(len(self._parent)):
            members.setdefault(self.find(item), []).append(item)
        return list(members.values())


def join_groups(records: Sequence[Record], groups: Iterable[Iterable[str]]) -> list[list[int]]:
    """Indices of `records` in groups that no split may tear apart.

    Args:
        records: Those of one object (equal `object_id`) belong together.
        groups: File names that belong together besides; names of no record are passed over.

    Returns:
        Every index exactly once, in groups ordered by their first member.
    """
    sets = UnionFind(len(records))
    index = {record.file_name: i for i, record in enumerate(records)}
    first_of: dict[str, int] = {}
    for i, record in enumerate(records):
        if record.object_id is not None:
            sets.union(first_of.setdefault(record.object_id, i), i)
    for group in groups:
        known = [index[name] for name in group if name in index]
        for name in known[1:]:
            sets.union(known[0], name)
    return sets.sets()
