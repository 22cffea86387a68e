"""What is said of a combination of labels before it is asked for."""

from __future__ import annotations

from services.studio.combinations import judge

SEEN = [
    {"labels": {"dynasty": "song", "glaze": "celadon", "type": "bowl"}, "count": 3},
    {"labels": {"dynasty": "song", "glaze": "white", "type": "vase"}, "count": 1},
    {"labels": {"dynasty": "ming", "glaze": "celadon", "type": "vase"}, "count": 2},
]


def test_a_seen_combination_says_how_often_and_parts_of_it_add_up() -> None:
    assert "3 photographs" in judge({"dynasty": "song", "glaze": "celadon"}, SEEN).sentence
    assert "5 photographs" in judge({"glaze": "celadon", "type": ""}, SEEN).sentence
    assert "1 photograph " in judge({"glaze": "white"}, SEEN).sentence


def test_two_labels_never_seen_together_are_named() -> None:
    verdict = judge({"dynasty": "ming", "glaze": "white"}, SEEN)
    assert verdict.standing == "apart"
    assert verdict.needs_consent
    assert "Ming · 明 with White · 白釉" in verdict.sentence


def test_each_two_seen_but_not_all_is_unseen() -> None:
    verdict = judge({"dynasty": "song", "glaze": "celadon", "type": "vase"}, SEEN)
    assert verdict.standing == "unseen"
    assert verdict.needs_consent


def test_nothing_chosen_is_free() -> None:
    assert not judge({"dynasty": None, "glaze": ""}, SEEN).needs_consent
