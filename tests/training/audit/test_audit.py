"""An audit finds the label that is wrong, says what blanks are, and touches nothing."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from porcelain.dataset import Record, write_metadata
from porcelain.errors import UserError
from porcelain.label_prior import Combination
from training.audit.audit import AuditSettings, audit_dataset
from training.audit.scores import (
    Judgement,
    class_thresholds,
    fill_threshold,
    is_probably_wrong,
    judge,
)
from training.data.merge import merge_corrections

COLOURS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 210)}
# Weights by chance: they see colour, which is all there is to see.
SETTINGS = AuditSettings(backbone="mobilenetv3_small_050", pretrained="none", folds=3)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty coloured pictures, glaze and kiln named after the colour: one wrong, some blank."""
    root = tmp_path_factory.mktemp("audit") / "photos"
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    records = []
    for number in range(60):
        colour = list(COLOURS)[number % 3]
        noise = rng.integers(-25, 25, (64, 64, 3))
        pixels = np.clip(np.array(COLOURS[colour]) + noise, 0, 255).astype(np.uint8)
        name = f"images/{number:02}.png"
        Image.fromarray(pixels).save(root / name)
        kiln = None if number in (3, 4, 5) else f"{colour}_kiln"
        glaze = "blue" if number == 6 else colour  # it is red
        labels = {"dynasty": None, "glaze": glaze, "kiln": kiln, "type": None}
        records.append(Record(name, labels))
    write_metadata(root, records)
    return root


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_wrong_label_stands_first_and_the_folder_stays(
    collection: Path, tmp_path: Path
) -> None:
    before = (collection / "metadata.csv").read_bytes()
    out = tmp_path / "audit"
    found = audit_dataset(collection, out, SETTINGS)
    first, *rest = table(out / "labels.csv")
    assert (first["file_name"], first["task"]) == ("images/06.png", "glaze")
    assert (first["old_label"], first["suggested"]) == ("blue", "red")
    assert first["probably_wrong"] == "yes"
    assert len(rest) == 60 + 57 - 1
    assert sum(row["probably_wrong"] == "yes" for row in rest) <= 3
    blanks = table(out / "blanks.csv")
    assert {row["file_name"]: row["suggested"] for row in blanks} == {
        "images/03.png": "red_kiln", "images/04.png": "green_kiln", "images/05.png": "blue_kiln",
    }  # fmt: skip
    summary = json.loads((out / "audit.json").read_text())
    assert summary["blanks_to_fill"]["kiln"] == 3
    assert summary["labels_judged"] == {"glaze": 60, "kiln": 57}
    assert [r.file_name for r in found.rare] == ["images/06.png"]
    page = (out / "audit.html").read_text()
    assert "images/06.png" in page
    assert "data:image/jpeg" in page
    assert "http" not in page
    assert (collection / "metadata.csv").read_bytes() == before
    assert not list(out.glob("features-*"))
    with pytest.raises(UserError, match="already exists"):
        audit_dataset(collection, out, SETTINGS)
    # What a person writes into the table can be merged.
    rows = table(out / "labels.csv")
    rows[0] |= {"new_label": "red", "who": "Chen"}
    with (tmp_path / "reviewed.csv").open("w") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    report = merge_corrections(collection, [tmp_path / "reviewed.csv"], tmp_path / "corrected")
    assert report.changed == {"glaze": 1}


def test_an_interrupted_audit_goes_on(
    collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.audit import audit

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "audit"
    with monkeypatch.context() as patch:
        patch.setattr(audit, "_judge_fold", interrupted)
        with pytest.raises(KeyboardInterrupt):
            audit_dataset(collection, out, SETTINGS)
    assert not out.exists()
    looked: list[object] = []
    from training.audit import out_of_fold

    with monkeypatch.context() as patch:
        patch.setattr(out_of_fold, "_features", lambda *arguments: looked.append(arguments))
        audit_dataset(collection, out, SETTINGS)
    assert looked == []  # the pictures had been seen already
    assert (out / "labels.csv").is_file()


def test_other_labels_speak_too_and_what_was_not_learned_is_not_judged() -> None:
    classes = {"glaze": ["celadon", "white"], "kiln": ["ding", "longquan"]}
    counted = [
        Combination(labels={"glaze": "celadon", "kiln": "longquan"}, count=50),
        Combination(labels={"glaze": "white", "kiln": "ding"}, count=50),
    ]
    unsure = {task: np.full((3, 2), 0.5) for task in classes}
    records = [
        Record("a", {"glaze": "celadon", "kiln": "longquan"}),
        Record("b", {"glaze": "celadon", "kiln": "ding"}),
        Record("c", {"glaze": "celadon", "kiln": "xing"}),
    ]
    found = {(one.file_name, one.task): one for one in judge(records, classes, unsure, counted)}
    assert found["a", "kiln"].suspicion < 0 < found["b", "kiln"].suspicion
    assert ("c", "kiln") not in found


def known(probability: float, right: bool, label: str = "a") -> Judgement:
    own, other = (probability, 1 - probability) if right else (1 - probability, probability)
    return Judgement("x", "kiln", label, "b", own, other, float(np.log(other / own)))


def test_a_label_is_wrong_where_another_is_as_probable_as_usual() -> None:
    usual = class_thresholds([known(0.9, True, "b"), known(0.7, True, "b")])
    assert usual == {("kiln", "b"): pytest.approx(0.8)}
    assert is_probably_wrong(known(0.85, False), usual)
    assert not is_probably_wrong(known(0.75, False), usual)
    assert not is_probably_wrong(known(0.9, True), usual)


def test_blanks_are_filled_only_with_a_precision_that_holds() -> None:
    sure = [known(0.96, True)] * 200
    unsure = [known(0.7, True)] * 60 + [known(0.7, False)] * 40
    threshold = fill_threshold([*sure, *unsure], "kiln", 0.95)
    assert threshold is not None
    assert 0.7 < threshold <= 0.96
    assert fill_threshold(unsure, "kiln", 0.95) is None
    # Twenty right ones are too few to state 95 %.
    assert fill_threshold([known(0.96, True)] * 20, "kiln", 0.95) is None
