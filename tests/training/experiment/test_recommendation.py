import pytest

from tests.training.experiment.constructed import COPIES, MIX, MIX5, REAL, ROUTED
from training.experiment.arms import pairs
from training.experiment.records import Arm
from training.experiment.statistics.recommendation import points, recommend
from training.experiment.statistics.results import Comparison, Measure

ARMS = [REAL, MIX5, MIX, COPIES]


def measure(value, half=0.02):
    return Measure(
        value=value, low=value - half, high=value + half, standard_error=half / 2, degrees=9.0
    )


def compared(arm, value, p, reference="real", half=0.02):
    return Comparison(
        arm=arm,
        reference=reference,
        family="real" if reference == "real" else "control",
        seeds=10,
        f1_macro=measure(value, half),
        per_seed=[value],
        p=p,
        p_holm=p,
        calibration=measure(0.0),
    )


NOTHING = [compared("mix-95-5", 0.001, 1.0), compared("oversample-90-10", -0.001, 1.0)]


def test_the_shown_gain_is_recommended_with_its_interval():
    found = recommend(
        "type",
        [
            *NOTHING,
            compared("mix-90-10", 0.041, 0.01),
            compared("mix-90-10", 0.03, 0.01, "oversample-90-10"),
        ],
        ARMS,
    )
    assert found.verdict == "use"
    assert found.arm == "mix-90-10"
    assert found.sentence == (
        "type: use 90:10 synthetic pictures, +4.1 points [2.1, 6.1]; "
        "ahead of extra copies of real pictures (+3.0 points [1.0, 5.0])."
    )


def test_what_was_not_shown_to_beat_copies_is_said():
    found = recommend(
        "type",
        [
            *NOTHING,
            compared("mix-90-10", 0.041, 0.01),
            compared("mix-90-10", 0.01, 0.6, "oversample-90-10"),
        ],
        ARMS,
    )
    assert found.arm == "mix-90-10"
    assert "not shown to be ahead of extra copies of real pictures" in found.sentence


def test_copies_are_recommended_where_they_help_and_nothing_is_better():
    found = recommend(
        "type",
        [
            compared("oversample-90-10", 0.03, 0.01),
            compared("mix-90-10", 0.041, 0.01),
            compared("mix-90-10", 0.011, 0.6, "oversample-90-10"),
        ],
        ARMS,
    )
    assert found.arm == "oversample-90-10"
    assert found.sentence == (
        "type: use 90:10 extra copies of rare real pictures, +3.0 points [1.0, 5.0]; "
        "90:10 synthetic pictures, +4.1 points [2.1, 6.1], not shown to be better."
    )


def test_no_evidence_is_said_with_the_best_that_was_tried():
    found = recommend("glaze", NOTHING, ARMS)
    assert found.verdict == "no evidence"
    assert found.arm == "real"
    assert found.sentence == (
        "glaze: use real only; no evidence of a gain "
        "(best: 95:5 synthetic pictures, +0.1 points [−1.9, 2.1])."
    )


def test_a_gain_that_correction_takes_away_is_not_recommended():
    found = recommend("glaze", [compared("mix-90-10", 0.03, 0.2)], ARMS)
    assert found.verdict == "no evidence"
    assert "after correction for all comparisons" in found.sentence
    assert "corrected p 0.20" in found.sentence


def test_an_interval_that_holds_nought_is_never_a_gain():
    found = recommend("glaze", [compared("mix-90-10", 0.03, 0.01, half=0.04)], ARMS)
    assert found.verdict == "no evidence"


def test_harm_is_said():
    found = recommend("glaze", [*NOTHING, compared("mix-90-10", -0.05, 0.001)], ARMS)
    assert found.verdict == "harm"
    assert found.arm == "real"
    assert "90:10 synthetic pictures cost: −5.0 points [−7.0, −3.0]" in found.sentence
    alone = recommend("glaze", [compared("mix-90-10", -0.05, 0.001)], ARMS)
    assert "all that was added was shown to cost" in alone.sentence


def test_one_seed_shows_nothing():
    one = compared("mix-90-10", 0.2, None)
    assert recommend("type", [one], ARMS).verdict == "not measured"
    assert recommend("type", [], ARMS).arm == "real"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0414, "+4.1 points [2.1, 6.1]"), (0.0, "0.0 points [−2.0, 2.0]")],
)
def test_points(value, text):
    assert points(measure(value)) == text


def test_synthetic_arms_are_held_against_controls_with_as_many_pictures():
    untuned = Arm(kind="untuned", ratio=10)
    found = {(p.arm.name, p.reference.name, p.family) for p in pairs([*ARMS, untuned, ROUTED])}
    assert ("mix-90-10", "oversample-90-10", "control") in found
    assert ("mix-90-10", "untuned-90-10", "control") in found
    assert ("routed", "oversample-90-10", "control") in found
    assert ("oversample-90-10", "real", "real") in found
    assert not any(arm == "mix-95-5" and family == "control" for arm, _, family in found)
    assert not any(arm == "untuned-90-10" and family == "control" for arm, _, family in found)
