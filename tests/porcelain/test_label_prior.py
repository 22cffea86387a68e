"""Facts move the other answers as Bayes' rule says, for any tasks, and never rule anything out."""

from __future__ import annotations

import numpy as np
import pytest

from porcelain.bundle import ClassifierInfo
from porcelain.errors import UserError
from porcelain.label_prior import (
    Combination,
    FactCalibration,
    KnownFacts,
    LabelPrior,
    parse_known,
)
from porcelain.predictor import Outputs, interpret, label_prior

# Five tasks, none of them hard-wired anywhere.
LABELS = {
    "dynasty": ["ming", "song"],
    "glaze": ["blue_and_white", "celadon"],
    "kiln": ["jingdezhen", "longquan", "yaozhou"],
    "type": ["bowl", "vase"],
    "decoration": ["carved", "painted"],
}


def combination(count: int, **labels: str) -> Combination:
    return Combination(labels=labels, count=count)


COMBINATIONS = [
    combination(40, dynasty="ming", glaze="blue_and_white", kiln="jingdezhen", type="bowl"),
    combination(10, dynasty="ming", glaze="celadon", kiln="longquan", type="vase"),
    combination(30, dynasty="song", glaze="celadon", kiln="longquan", type="bowl"),
    combination(20, dynasty="song", glaze="celadon", kiln="yaozhou", decoration="carved"),
    combination(5, dynasty="song", glaze="celadon"),
]
EVERY = {task: dict.fromkeys(LABELS, 1.0) for task in LABELS}


def facts_of(**changes: object) -> KnownFacts:
    return KnownFacts.model_validate({"combinations": COMBINATIONS, "strengths": EVERY} | changes)


def even(pictures: int = 1) -> dict[str, np.ndarray]:
    return {
        task: np.full((pictures, len(names)), 1 / len(names), np.float32)
        for task, names in LABELS.items()
    }


def info_of(facts: KnownFacts | None) -> ClassifierInfo:
    return ClassifierInfo(
        labels=LABELS,
        label_counts={task: dict.fromkeys(names, 1) for task, names in LABELS.items()},
        input_size=32,
        resize="squash",
        backbone="none",
        temperatures=dict.fromkeys(LABELS, 1.0),
        abstention_thresholds=dict.fromkeys(LABELS, 0.6),
        selective_accuracy=0.95,
        activation_grid=(1, 1),
        conformity={task: {name: [0.2] * 30 for name in names} for task, names in LABELS.items()},
        known_facts=facts,
    )


def test_a_fact_counts_as_often_as_it_occurred_with_each_label() -> None:
    prior = LabelPrior(LABELS, facts_of(smoothing=1e-9))
    known = [{"dynasty": "ming"}, {"dynasty": "song", "glaze": "celadon"}]
    answer = prior.condition(even(2), known)["kiln"]
    # P(kiln | facts) / P(kiln); the picture says nothing. Blank kilns count as P(kiln).
    marginal = np.array([40.5, 40.5, 20.5]) / 101.5
    base = (np.array([40, 40, 20]) + 5 * marginal) / 105
    ming = np.array([40, 10, 0]) / 50
    song = (np.array([0, 30, 20]) + 5 * marginal) / 55
    for row, conditional in zip(answer, (ming, song), strict=True):
        expected = conditional / base
        np.testing.assert_allclose(row, expected / expected.sum(), atol=1e-6)


def test_nothing_is_ever_ruled_out_and_rows_add_to_one() -> None:
    prior = LabelPrior(LABELS, facts_of())
    probabilities = even(3)
    probabilities["kiln"] = np.array([[1, 0, 0], [0, 1, 0], [0.2, 0.3, 0.5]], np.float32)
    known = [{"dynasty": "song", "decoration": "painted"}, {"dynasty": "ming"}, {"type": "vase"}]
    for rows in prior.condition(probabilities, known).values():
        assert (rows >= 0).all()
        np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-6)
    answer = prior.condition(probabilities, known)["kiln"]
    assert (answer > 0).all()


def test_without_facts_the_picture_answers_alone() -> None:
    prior = LabelPrior(LABELS, facts_of())
    probabilities = even(2)
    probabilities["kiln"] = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], np.float32)
    answer = prior.condition(probabilities, [{}, {"dynasty": "ming"}])
    np.testing.assert_array_equal(answer["kiln"][0], probabilities["kiln"][0].astype(np.float64))
    assert answer["kiln"][1][2] < 0.5
    np.testing.assert_array_equal(answer["dynasty"][1], even()["dynasty"][0])


def test_strength_decides_how_much_a_fact_counts() -> None:
    def kiln(strength: float) -> float:
        facts = facts_of(strengths={"kiln": {"dynasty": strength}})
        known = [{"dynasty": "ming", "type": "vase"}]
        return float(LabelPrior(LABELS, facts).condition(even(), known)["kiln"][0, 0])

    assert kiln(0) == pytest.approx(1 / 3)
    assert 1 / 3 < kiln(0.5) < kiln(1)


def test_the_held_out_graph_is_asked_with_its_own_counts() -> None:
    only = [combination(10, dynasty="ming", kiln="yaozhou"), combination(9, dynasty="song")]
    facts = facts_of(held_out_combinations=only)
    known = [{"dynasty": "ming"}]
    served = LabelPrior(LABELS, facts).condition(even(), known)["kiln"][0]
    held_out = LabelPrior(LABELS, facts, held_out=True).condition(even(), known)["kiln"][0]
    assert served.argmax() == 0
    assert held_out.argmax() == 2


def test_calibration_is_that_of_the_facts_or_of_most_of_them() -> None:
    calibrations = [
        FactCalibration(
            known=["dynasty"], temperatures={"kiln": 2.0}, abstention_thresholds={"kiln": 0.5}
        )
    ]
    prior = LabelPrior(LABELS, facts_of(calibrations=calibrations))
    sharp = LabelPrior(LABELS, facts_of())
    known = [{"dynasty": "ming", "type": "bowl"}]
    soft, hard = (one.condition(even(), known)["kiln"][0] for one in (prior, sharp))
    np.testing.assert_allclose(soft, np.sqrt(hard) / np.sqrt(hard).sum())
    info = info_of(facts_of(calibrations=calibrations))
    outputs = Outputs(even(2))
    answers = interpret(info, outputs, known=[{"dynasty": "ming"}, {}])
    assert 0.5 < answers[0]["kiln"].probability < 0.6
    assert not answers[0]["kiln"].abstained
    assert answers[1]["kiln"].abstained


def test_a_known_task_is_answered_with_the_fact_and_the_pictures_view_beside_it() -> None:
    info = info_of(facts_of())
    probabilities = even(2)
    probabilities["dynasty"] = np.array([[0.004, 0.996], [0.3, 0.7]], np.float32)
    known = [{"dynasty": "ming"}, {"dynasty": "ming"}]
    answers = interpret(info, Outputs(probabilities), known=known, coverage=0.9)
    for one, conflict in zip(answers, (True, False), strict=True):
        dynasty = one["dynasty"]
        assert (dynasty.label, dynasty.probability, dynasty.known) == ("ming", 1.0, True)
        assert not dynasty.abstained
        assert dynasty.conflict is conflict
        assert dynasty.top[0].label == "song"
        assert one["kiln"].label == "jingdezhen"
        assert not one["kiln"].known
        # Calibrated for pictures alone: not stated where anything is known.
        assert one["kiln"].label_set is None
    assert answers[0]["dynasty"].model_probability == pytest.approx(0.004)
    assert "song" in answers[0]["dynasty"].conflict_note("dynasty")
    (alone,) = interpret(info, Outputs(even()), coverage=0.9)
    assert alone["kiln"].label_set is not None


def test_the_most_unusual_pair_is_named() -> None:
    prior = LabelPrior(LABELS, facts_of())
    found = prior.unusual({"dynasty": "song", "glaze": "blue_and_white", "kiln": "jingdezhen"})
    assert found is not None
    assert found.labels == {"dynasty": "song", "glaze": "blue_and_white"}
    assert found.expected == pytest.approx(40 * 55 / 105)
    usual = {"dynasty": "ming", "glaze": "celadon", "kiln": "longquan", "type": "bowl"}
    assert prior.unusual(usual) is None
    # Too rare for its absence to mean anything: 20 carved pieces, none of known type.
    assert prior.unusual({"decoration": "carved", "type": "vase"}) is None


def test_a_bundle_that_cannot_use_facts_says_so() -> None:
    with pytest.raises(UserError, match="train the classifier anew"):
        label_prior(info_of(None))
    with pytest.raises(UserError, match="train the classifier anew"):
        interpret(info_of(None), Outputs(even()), known=[{"dynasty": "ming"}])
    assert interpret(info_of(None), Outputs(even()), known=[{}])[0]["kiln"].known is False


def test_facts_are_read_as_people_write_them() -> None:
    assert parse_known("dynasty:ming,kiln:jingdezhen", LABELS) == {
        "dynasty": "ming",
        "kiln": "jingdezhen",
    }
    assert parse_known(" dynasty : ming , ", LABELS) == {"dynasty": "ming"}
    assert parse_known("", LABELS) == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ming", "'ming' is not task:label"),
        ("dynasty:", "'dynasty:' is not task:label"),
        ("dinasty:ming", "no task 'dinasty'; the tasks are dynasty, glaze, kiln, type, decoration"),
        ("kiln:ming", "kiln has no label 'ming'; its labels are jingdezhen, longquan, yaozhou"),
        ("kiln:yaozhou,kiln:longquan", "kiln twice"),
    ],
)
def test_wrong_facts_are_told_with_the_valid_ones(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        parse_known(text, LABELS)


def test_none_of_these_is_said_of_the_picture_alone() -> None:
    info = info_of(facts_of()).model_copy(update={"none_of_these_thresholds": {"kiln": 0.5}})
    probabilities = even(2)
    probabilities["kiln"][1] = [0.8, 0.1, 0.1]
    unsure, sure = interpret(info, Outputs(probabilities))
    assert unsure["kiln"].none_of_these is True
    assert sure["kiln"].none_of_these is False
    assert sure["dynasty"].none_of_these is None  # no threshold
    (informed, _) = interpret(info, Outputs(probabilities), known=[{"dynasty": "ming"}, {}])
    assert informed["kiln"].none_of_these is None
