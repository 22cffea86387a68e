"""What arms add, and how routing chooses, on cases with known answers."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from porcelain.dataset import Record
from porcelain.errors import DatasetError
from training.data.ratio import Rule
from training.experiment.additions import (
    matching_copies,
    plan_records,
    synthetic_count,
    usable_records,
)
from training.experiment.arms import choose_arms
from training.experiment.folds import check_fixed
from training.experiment.measuring import BALANCED_LOSS, choose_ratios, measure
from training.experiment.records import PREDICTIONS, Arm, Picture


def record(name: str, dynasty: str, form: str, **extra: str) -> Record:
    labels = {"dynasty": dynasty, "glaze": None, "kiln": None, "type": form}
    return Record(name, labels, object_id=name, extra=extra)


REAL = [
    *(record(f"bowl-{i}", "song", "bowl") for i in range(20)),
    *(record(f"vase-{i}", "song", "vase") for i in range(4)),
    record("pillow-0", "ming", "pillow"),
    record("pillow-1", "song", "pillow"),
]


def test_a_ratio_is_a_share_of_the_whole_training_part():
    assert synthetic_count(10, 90) == 10
    assert synthetic_count(5, 95) == 5
    assert synthetic_count(2.5, 721) == round(721 / 39)
    assert synthetic_count(0, 90) == 0


def test_copies_meet_the_plan_and_spread_over_the_pictures_of_a_kind():
    added = [record(f"s{i}", "song", "vase") for i in range(8)] + [
        record(f"p{i}", "ming", "pillow") for i in range(3)
    ]
    copies = matching_copies(added, REAL, seed=0)
    kinds = Counter(REAL[i].labels["type"] for i in copies)
    assert kinds == {"vase": 8, "pillow": 3}
    assert Counter(copies[:8]).most_common(1)[0][1] == 2
    assert {REAL[i].file_name for i in copies[8:]} == {"pillow-0"}
    assert copies == matching_copies(added, REAL, seed=0)


def test_a_kind_without_a_real_picture_is_met_by_its_rarest_label():
    (copy,) = matching_copies([record("s", "yuan", "pillow")], REAL, seed=0)
    assert REAL[copy].labels["type"] == "pillow"
    (copy,) = matching_copies([record("s", "song", "pillow")], REAL, seed=0)
    assert REAL[copy].file_name == "pillow-1"


def test_rare_kinds_receive_more_and_the_count_is_met():
    made = [record(f"{form}-{i}", "song", form) for form in ("bowl", "vase") for i in range(20)]
    chosen = plan_records(made, REAL, 30, Rule.RARITY, ("type",), seed=1)
    assert len(chosen) == synthetic_count(30, len(REAL)) == 11
    counts = Counter(r.labels["type"] for r in chosen)
    assert counts["vase"] > counts["bowl"]


def test_variations_need_their_object_in_training():
    made = [record("a", "song", "bowl", variation_of="bowl-0"), record("b", "song", "bowl")]
    assert len(usable_records(made, REAL, train=[0])) == 2
    assert [r.file_name for r in usable_records(made, REAL, train=[1])] == ["b"]


def test_arms_are_expanded_over_ratios_and_named():
    names = [arm.name for arm in choose_arms(None, (0, 5, 10), ["synthetic", "untuned"])]
    assert names == [
        "real", "mix-95-5", "mix-90-10", "oversample-95-5", "oversample-90-10",
        "untuned-95-5", "untuned-90-10", "routed",
    ]  # fmt: skip
    assert choose_arms(["mix-97.5-2.5"], (0, 5), ["synthetic"]) == [
        Arm(kind="real"), Arm(kind="mix", ratio=2.5),
    ]  # fmt: skip
    assert [arm.name for arm in choose_arms(None, (0, 5), [])] == ["real"]


def answers(truths: list[str], probabilities: list[float], split: str = "validation") -> list[dict]:
    return [
        {
            "seed": 0, "fold": 0, "arm": "mix", "ratio": 0.0, "split": split,
            "file_name": f"{i:03}", "object_id": str(i), "task": "type", "truth": truth,
            "predicted": truth, "probability_of_truth": p, "confidence": p,
            "probabilities": [p, 1 - p],
        }
        for i, (truth, p) in enumerate(zip(truths, probabilities, strict=True))
    ]  # fmt: skip


def table(rows: list[dict]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=PREDICTIONS)


def test_routing_weighs_classes_alike_and_looks_at_no_test_picture():
    truths = ["bowl"] * 8 + ["pillow"] * 2
    real = answers(truths, [0.8] * 8 + [0.2] * 2)
    helps_rare = answers(truths, [0.7] * 8 + [0.6] * 2)
    helps_common = answers(truths, [0.9] * 8 + [0.15] * 2)
    tempting = answers(truths, [0.999] * 10, split="test")
    chosen = choose_ratios(
        {0.0: table(real), 5.0: table(helps_common + tempting), 10.0: table(helps_rare)}, ["type"]
    )
    assert chosen == {"type": 10.0}
    assert choose_ratios({0.0: table(real), 5.0: table(helps_common)}, ["type"]) == {"type": 0.0}


def test_routing_takes_the_lower_of_equals_and_can_ask_for_more_than_luck():
    truths = ["bowl"] * 5 + ["vase"] * 5
    real = table(answers(truths, [0.5] * 10))
    better = table(answers(truths, [0.6] * 10))
    assert choose_ratios({0.0: real, 5.0: better, 10.0: better}, ["type"]) == {"type": 5.0}
    assert choose_ratios({0.0: real, 5.0: real}, ["type"]) == {"type": 0.0}
    lucky = table(answers(truths, [0.9] + [0.5] * 9))
    assert choose_ratios({0.0: real, 5.0: lucky}, ["type"]) == {"type": 5.0}
    assert choose_ratios({0.0: real, 5.0: lucky}, ["type"], margin=1.5) == {"type": 0.0}


def test_a_task_without_labelled_validation_pictures_uses_real_pictures():
    rows = [{**row, "truth": None} for row in answers(["bowl"], [0.5])]
    assert choose_ratios({0.0: table(rows), 5.0: table(rows)}, ["type"]) == {"type": 0.0}


def test_measures_are_what_their_names_say():
    probabilities = np.asarray([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.5, 0.5]])
    labels = np.asarray([0, 0, 1, -1])
    found = measure(probabilities, labels)
    assert found["support"] == 3
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["balanced_accuracy"] == pytest.approx(0.5)
    assert found["f1_macro"] == pytest.approx((0.8 + 0.0) / 2)
    mine = (-math.log(0.9) - math.log(0.8)) / 2
    assert found["log_loss"] == pytest.approx((2 * mine - math.log(0.4)) / 3)
    assert found[BALANCED_LOSS] == pytest.approx((mine - math.log(0.4)) / 2)
    assert measure(probabilities[:0], labels[:0]) == {"support": 0.0}


@pytest.mark.parametrize(
    "torn", [("train", "validation"), ("train", "test"), ("validation", "test")]
)
def test_fixed_folds_keep_each_object_in_one_part(torn):
    parts = ("train", "validation", "test")
    pictures = [
        Picture(file_name=f"{i}.jpg", object_id=f"object-{i // 2}", labels={}, tested=True)
        for i in range(6)
    ]
    whole = {part: (f"{2 * i}.jpg", f"{2 * i + 1}.jpg") for i, part in enumerate(parts)}
    check_fixed([whole], pictures)
    one, other = torn
    exchanged = whole | {
        one: (whole[one][0], whole[other][0]),
        other: (whole[one][1], whole[other][1]),
    }
    with pytest.raises(DatasetError, match=f"object-. both in {one} and in {other}"):
        check_fixed([exchanged], pictures)
