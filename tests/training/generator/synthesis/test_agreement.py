"""Reading planned labels."""

from __future__ import annotations

import numpy as np

from training.generator.synthesis.checks import misread_tasks, read_labels

CLASSES = {"glaze": ["celadon", "white"], "type": ["bowl", "dish", "vase"]}
ANSWER = {"glaze": np.asarray([0.8, 0.2]), "type": np.asarray([0.3, 0.45, 0.25])}
HALF = {"glaze": 0.5, "type": 0.5}


def misread(planned, thresholds=HALF):
    return misread_tasks(read_labels(planned, ANSWER, CLASSES), thresholds)


def test_from_one_half_on_the_planned_label_must_be_the_one_read():
    assert misread({"glaze": "celadon"}) == ()
    assert misread({"glaze": "white"}) == ("glaze",)


def test_and_surely_enough():
    assert misread({"type": "dish"}) == ("type",)
    assert misread({"type": "dish"}, {"type": 0.45}) == ()
    assert misread({"type": "bowl"}, {"type": 0.3}) == ()  # though a dish is more probable


def test_no_certainty_asked_for_passes_any_reading():
    assert misread({"glaze": "white", "type": "bowl"}, {"glaze": 0.0, "type": 0.5}) == ("type",)


def test_every_task_is_judged_by_itself():
    assert misread({"glaze": "white", "type": "vase"}) == ("glaze", "type")
    assert misread({"glaze": "celadon", "type": "dish"}, {"glaze": 0.5, "type": 0.4}) == ()


def test_what_was_not_planned_or_not_taught_is_not_judged():
    assert misread({}) == ()
    assert misread({"kiln": "ding"}) == ()
    assert misread({"type": "pillow"}) == ()


def test_readings_tell_both_labels_with_their_probabilities():
    reading = read_labels({"type": "bowl"}, ANSWER, CLASSES)["type"]
    assert (reading.planned, reading.planned_probability) == ("bowl", 0.3)
    assert (reading.read, reading.probability) == ("dish", 0.45)
