"""Plans: who gets how much, and what is refused."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from porcelain.errors import UserError
from tests.training.data.folders import labels_of as labels
from tests.training.data.folders import record
from training.data.allotment import allot
from training.data.ratio import Rule
from training.generator.synthesis.plan import (
    check_plan,
    count_records,
    kind_of,
    labels_of,
    make_plan,
    parse_kind,
    photographs_of,
    plan_by_rule,
    plan_text,
    read_plan,
    task_counts,
    without_unlearned,
)

COMMON = ("song", "celadon", "longquan", "bowl")
RARE = ("tang", "sancai", None, "figure")
OTHER = ("song", "white", "ding", "bowl")
KNOWN = {COMMON: 80, OTHER: 15, RARE: 5}
LEARNED = {
    "dynasty": ["song", "tang"],
    "glaze": ["celadon", "sancai", "white"],
    "kiln": ["ding", "longquan"],
    "type": ["bowl", "figure"],
}

SLUGS = st.sampled_from(["a", "b", "c"])
KINDS = st.dictionaries(
    st.tuples(SLUGS, SLUGS, st.one_of(st.none(), SLUGS), SLUGS), st.integers(1, 40), min_size=1
)


def counts(plan):
    return {planned.kind: planned.count for planned in plan.kinds}


@given(
    known=KINDS,
    total=st.integers(1, 300),
    rule=st.sampled_from(Rule),
    tasks=st.sampled_from([("type",), ("dynasty", "kiln"), ("dynasty", "glaze", "kiln", "type")]),
)
def test_every_rule_makes_as_many_as_asked_of_known_kinds_alone(known, total, rule, tasks):
    plan = plan_by_rule(total, rule, known, tasks)
    assert plan.total == total
    assert all(planned.kind in known and planned.count > 0 for planned in plan.kinds)
    assert [p.photographs for p in plan.kinds] == sorted(p.photographs for p in plan.kinds)


def test_rarity_serves_the_rare_and_uniform_all_alike():
    rarity = counts(plan_by_rule(100, Rule.RARITY, KNOWN))
    assert rarity[RARE] > rarity[OTHER] > rarity[COMMON] > 0
    assert set(counts(plan_by_rule(99, Rule.UNIFORM, KNOWN)).values()) == {33}


def test_a_plan_is_what_a_mix_of_the_same_rule_takes():
    real = list(task_counts(KNOWN).values())
    for rule in Rule:
        wanted = counts(plan_by_rule(60, rule, KNOWN))
        assert Counter(wanted) == +Counter(allot(60, rule, dict.fromkeys(KNOWN, 60), real))


def test_what_fits_no_label_is_made_only_when_named():
    nameless = ("ming", "other", None, "jar")
    known = KNOWN | {nameless: 1}
    for rule in Rule:
        assert counts(plan_by_rule(50, rule, known)).keys() == KNOWN.keys()
    assert counts(make_plan({nameless: 3}, known)) == {nameless: 3}
    with pytest.raises(UserError, match="no kind"):
        plan_by_rule(5, Rule.RARITY, {nameless: 1})


def test_rarity_by_one_task_shares_within_a_class_as_the_photographs_do():
    plan = counts(plan_by_rule(96, Rule.UNIFORM, KNOWN, ("type",)))
    assert plan[RARE] == 48
    assert plan[COMMON] == round(48 * 80 / 95)
    assert plan[OTHER] == 48 - plan[COMMON]


def test_kinds_are_counted_and_rows_without_labels_teach_none():
    rows = [record("a", labels(*COMMON)), record("b", labels(*COMMON)), record("c", labels(*RARE))]
    rows.append(record("d", labels(None, None, None, None)))
    assert count_records(rows) == {COMMON: 2, RARE: 1}
    assert kind_of(labels_of(RARE)) == RARE


def test_photographs_of_a_kind_are_those_that_show_all_its_labels():
    assert photographs_of(COMMON, KNOWN) == 80
    assert photographs_of((None, None, None, "bowl"), KNOWN) == 95
    assert photographs_of(("tang", None, None, "bowl"), KNOWN) == 0
    # A photograph of unknown kiln does not vouch for one.
    assert photographs_of(("tang", "sancai", "ding", "figure"), KNOWN) == 0


def test_unseen_kinds_are_refused_unless_asked_for():
    unseen = ("tang", "celadon", "ding", "figure")
    plan = make_plan({unseen: 3, COMMON: 1}, KNOWN)
    with pytest.raises(UserError, match=r"tang celadon ding figure.*--allow-unseen"):
        check_plan(plan, LEARNED, allow_unseen=False)
    check_plan(plan, LEARNED, allow_unseen=True)
    check_plan(make_plan({COMMON: 1}, KNOWN), LEARNED, allow_unseen=False)


def test_labels_that_the_generator_never_learned_are_refused_whatever_is_allowed():
    plan = make_plan({("ming", None, None, None): 1}, KNOWN)
    with pytest.raises(UserError, match="no dynasty 'ming'; it knows song, tang"):
        check_plan(plan, LEARNED, allow_unseen=True)


def test_kinds_that_the_generator_cannot_make_are_set_aside():
    newer = {**KNOWN, ("qing", "celadon", None, "bowl"): 4}
    able, unlearned = without_unlearned(newer, LEARNED)
    assert able == KNOWN
    assert unlearned == [("qing", "celadon", None, "bowl")]


def test_a_written_plan_reads_back(tmp_path):
    plan = plan_by_rule(50, Rule.RARITY, KNOWN)
    file = tmp_path / "plan.csv"
    file.write_text(plan_text(plan))
    assert read_plan(file, KNOWN) == plan


@pytest.mark.parametrize(
    "text",
    [
        "",
        "type,count\n",
        "type\nbowl\n",
        "type,count,colour\nbowl,1,red\n",
        "type,count\nbowl,-1\n",
        "type,count\nbowl,\n",
        "type,count\nbowl,1\nbowl,2\n",
        "type,count\n,3\n",
        "type,count\nbowl,1,more\n",
        'type,count\n"bowl,1\ndish,1\n',
        "type;count\nbowl;1\n",
    ],
)
def test_malformed_plans_are_refused(tmp_path, text):
    file = tmp_path / "plan.csv"
    file.write_text(text)
    with pytest.raises(UserError, match=r"plan\.csv"):
        read_plan(file, KNOWN)


def test_empty_rows_of_a_plan_are_none(tmp_path):
    file = tmp_path / "plan.csv"
    file.write_bytes("\ufefftype,count\r\nbowl,1\r\n,\r\n\r\n".encode())
    assert read_plan(file, KNOWN).total == 1


def test_labels_are_parsed_and_mistakes_named():
    assert parse_kind("type=bowl, dynasty=song") == ("song", None, None, "bowl")
    for text in ("", "type", "type=", "colour=red", "type=bowl,type=dish"):
        with pytest.raises(UserError, match="--labels"):
            parse_kind(text)
