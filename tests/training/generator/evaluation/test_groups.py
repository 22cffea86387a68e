"""Which pictures are compared with which."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.generator.evaluation.groups import (
    Group,
    draw_sample_counts,
    groups_of_photographs,
    is_rare,
    rare_labels,
    rows_of,
)

COMMON = ("song", "celadon", "longquan", "bowl")
OTHER = ("song", "white", None, "bowl")
RARE = ("song", "celadon", "longquan", "pillow")
KINDS = [COMMON] * 60 + [OTHER] * 30 + [RARE] * 10


def test_a_label_is_rare_with_half_the_share_of_an_average_one():
    rare = rare_labels(KINDS)
    # 100 pictures of two types: 25 or fewer is rare; of one dynasty: nothing is.
    assert rare == {
        "dynasty": frozenset(),
        "glaze": frozenset(),
        "kiln": frozenset(),
        "type": frozenset({"pillow"}),
    }
    assert is_rare(RARE, rare)
    assert not is_rare(COMMON, rare)


def test_groups_are_all_rare_and_every_class():
    names = [group.name for group in groups_of_photographs(KINDS, rare_labels(KINDS))]
    assert names == [
        "all",
        "rare",
        "dynasty song",
        "glaze white",
        "glaze celadon",
        "kiln longquan",
        "type pillow",
        "type bowl",
    ]
    even = [COMMON, OTHER]
    assert "rare" not in [group.name for group in groups_of_photographs(even, rare_labels(even))]


@given(count=st.integers(1, 350), seed=st.integers(0, 5))
def test_what_is_drawn_is_mixed_as_the_photographs_are(count, seed):
    rare = rare_labels(KINDS)
    counts = draw_sample_counts(KINDS, rare, count, seed)
    assert sum(counts.alike.values()) == sum(counts.rare.values()) == count
    assert set(counts.rare) == {RARE}
    for kind, photographs in Counter(KINDS).items():
        rounds, rest = divmod(count, len(KINDS))
        least = rounds * photographs
        assert least <= counts.alike.get(kind, 0) <= least + min(rest, photographs)


def test_nothing_is_drawn_of_pictures_without_labels():
    kinds = [(None,) * 4] * 5
    counts = draw_sample_counts(kinds, rare_labels(kinds), 10, 0)
    assert not counts.alike
    assert not counts.rare


def test_what_was_drawn_for_its_rarity_counts_among_the_rare_alone():
    rare = rare_labels(KINDS)
    kinds = [COMMON, RARE, RARE]
    extra = np.asarray([False, False, True])

    def rows(group):
        return rows_of(group, kinds, rare, extra).tolist()

    assert rows(Group("all")) == [0, 1]
    assert rows(Group("rare", rare=True)) == [1, 2]
    assert rows(Group("type pillow", "type", "pillow", True)) == [1, 2]
    # A common class would otherwise have more pillows than its photographs have.
    assert rows(Group("glaze celadon", "glaze", "celadon", False)) == [0, 1]
    assert rows_of(Group("all"), kinds, rare).tolist() == [0, 1, 2]
