"""Strengths and calibration of facts follow validation, and real photographs alone are counted."""

from __future__ import annotations

import numpy as np

from porcelain.dataset import Record
from porcelain.label_prior import LabelPrior
from training.classifier.known_facts import (
    UNMEASURED_STRENGTH,
    count_combinations,
    fit_known_facts,
    shrunk_temperature,
)

CLASSES = {"dynasty": ["ming", "song"], "kiln": ["ding", "jingdezhen"], "mark": ["no", "yes"]}


def record(number: int, dynasty: str, kiln: str | None, mark: str, **more: bool) -> Record:
    return Record(f"{number}.jpg", {"dynasty": dynasty, "kiln": kiln, "mark": mark}, **more)


def world(count: int = 400) -> list[Record]:
    """Kiln follows dynasty in nine of ten; the mark is a coin of its own."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        dynasty = int(rng.integers(2))
        kiln = dynasty if rng.random() < 0.1 else 1 - dynasty
        rows.append(
            record(
                number,
                CLASSES["dynasty"][dynasty],
                CLASSES["kiln"][kiln],
                CLASSES["mark"][int(rng.integers(2))],
            )
        )
    return rows


def indices(records: list[Record]) -> dict[str, np.ndarray]:
    return {
        task: np.array([names.index(one.labels[task]) for one in records])  # type: ignore[arg-type]
        for task, names in CLASSES.items()
    }


def test_synthetic_pictures_and_blanks_are_counted_as_they_should_be() -> None:
    records = [
        record(0, "ming", "jingdezhen", "no"),
        record(1, "ming", "jingdezhen", "no"),
        record(2, "song", None, "yes"),
        record(3, "song", "jingdezhen", "no", synthetic=True),
    ]
    counted = count_combinations(records, CLASSES)
    assert [(one.count, one.labels) for one in counted] == [
        (2, {"dynasty": "ming", "kiln": "jingdezhen", "mark": "no"}),
        (1, {"dynasty": "song", "mark": "yes"}),
    ]


def test_what_helps_on_validation_counts_and_what_does_not_is_left_out() -> None:
    records = world()
    labels = indices(records[:100])
    blind = {task: np.full((100, 2), 0.5) for task in CLASSES}
    facts = fit_known_facts(CLASSES, records[100:], records, blind, labels, 0.9)
    assert facts is not None
    assert facts.strengths["kiln"]["dynasty"] > 0
    assert facts.strengths["kiln"]["mark"] == 0
    assert sum(one.count for one in facts.held_out_combinations) == 300
    assert sum(one.count for one in facts.combinations) == 400
    known = {frozenset(one.known) for one in facts.calibrations}
    assert len(known) == 6  # every set of known tasks but all and none
    answer = LabelPrior(CLASSES, facts, held_out=True).condition(
        {"kiln": blind["kiln"][:1]}, [{"dynasty": "song", "mark": "yes"}]
    )["kiln"]
    assert 0.75 < answer[0, 0] < 0.97


def test_too_few_validation_pictures_leave_the_default() -> None:
    records = world(40)
    labels = indices(records[:10])
    blind = {task: np.full((10, 2), 0.5) for task in CLASSES}
    facts = fit_known_facts(CLASSES, records[10:], None, blind, labels, 0.9)
    assert facts is not None
    assert facts.strengths["kiln"]["dynasty"] == UNMEASURED_STRENGTH
    assert facts.calibrations == []
    assert facts.held_out_combinations == []
    assert fit_known_facts(CLASSES, [], None, blind, labels, 0.9) is None


def test_a_hundred_right_answers_do_not_make_it_certain() -> None:
    logits = np.log(np.tile([0.9, 0.1], (100, 1)))
    assert 0.4 < shrunk_temperature(logits, np.zeros(100, dtype=np.int64)) < 1
    assert abs(shrunk_temperature(logits[:0], np.zeros(0, dtype=np.int64)) - 1) < 0.01
