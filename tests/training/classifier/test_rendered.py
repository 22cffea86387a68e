"""Rendered vessels teach the members that are to see them, and are nowhere else."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from porcelain.bundle import load_bundle
from porcelain.cli.options import build_settings
from porcelain.dataset import Dataset, Record, load_dataset, write_metadata
from porcelain.errors import DatasetError, UserError
from porcelain.similar import load_index
from tests.training.classifier.conftest import (
    COLOURS,
    DYNASTY,
    KILN,
    check_interruption_within_the_second_member,
    draw,
)
from training.classifier import rendered
from training.classifier.pictures import Pictures
from training.classifier.pipeline import Reporter, fit, train_classifier
from training.classifier.rendered import find_rendered
from training.classifier.settings import TrainSettings


@pytest.fixture(scope="module")
def vessels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 pictures that were rendered before, of the photographs' labels; celadon is rare."""
    root = tmp_path_factory.mktemp("vessels")
    (root / "images").mkdir()
    records = []
    for index in range(60):
        glaze = list(COLOURS)[0 if index < 6 else 1 + index % 2]
        name = f"images/{index:03}.jpg"
        draw(glaze, index % 3 == 0, 1000 + index).save(root / name, quality=92)
        labels: dict[str, str | None] = {
            "dynasty": DYNASTY[glaze],
            "glaze": glaze,
            "kiln": KILN[glaze],
            "type": "vase" if index % 3 == 0 else "bowl",
        }
        records.append(Record(name, labels, extra={"source": "rendered"}))
    write_metadata(root, records)
    return root


@pytest.fixture
def mixed(settings: TrainSettings, vessels: Path) -> TrainSettings:
    """Three members, of which two see rendered vessels."""
    return settings.model_copy(update={"members": 3, "epochs": 1, "rendered": str(vessels)})


def test_each_member_that_sees_them_has_its_own_draw(
    photos: Path, tmp_path: Path, mixed: TrainSettings
) -> None:
    said: list[str] = []
    fitted = fit(photos, tmp_path / "work", mixed, reporter=Reporter(message=said.append))
    trainers = fitted.trained.trainers
    # 30 % of what a member sees: 21 of 69.
    assert [len(trainer.train_data.labels) for trainer in trainers] == [48, 69, 69]
    assert "2 of 3 model(s) also learn from 21 rendered vessels each, 30% of what they see" in said
    drawn = [{r.file_name for r in trainer.train_data.records[48:]} for trainer in trainers]
    assert drawn[0] == set()
    assert drawn[1] != drawn[2]
    tasks = list(fitted.classes)
    for trainer in trainers[1:]:
        added = trainer.train_data.labels[48:]
        for column, task in enumerate(tasks):
            assert bool((added[:, column] == -1).all()) == (task == "dynasty")
    # What everything else is made from holds photographs alone.
    parts = fitted.pictures
    assert [len(part.labels) for part in parts.values()] == [48, 6, 6]
    assert all(len(part.pictures) == len(part.records) for part in parts.values())
    assert all(r.object_id is not None for part in parts.values() for r in part.records)


def test_rare_labels_are_drawn_most_often(vessels: Path, settings: TrainSettings) -> None:
    given = load_dataset(vessels)
    photographs = [
        replace(record, labels=record.labels | {"glaze": "white" if i else "celadon"})
        for i, record in enumerate(given.records[6:46])
    ]
    asked = settings.model_copy(update={"rendered": str(vessels)})
    pool = find_rendered(given, given, asked, vessels, print)
    assert pool is not None
    drawn = Dataset(vessels, tuple(pool.draw(photographs, seed=0))).counts("glaze")
    assert drawn["celadon"] == 6  # all there are


def test_the_bundle_says_what_was_done_and_keeps_none_of_them(
    photos: Path, tmp_path: Path, mixed: TrainSettings, vessels: Path
) -> None:
    two = mixed.model_copy(update={"members": 2, "refit": False, "rendered_share": 0.2})
    bundle = train_classifier(photos, tmp_path / "bundle", two)
    info = load_bundle(bundle.path, "classifier").classifier
    assert info.rendered is not None
    assert info.rendered.model_dump() == {
        "share": 0.2,
        "left_blank": ["dynasty"],
        "models": [0, 12],
    }
    assert sum(info.label_counts["glaze"].values()) == 48
    assert {picture.file_name for picture in load_index(bundle).pictures} <= {
        record.file_name for record in load_dataset(photos).records
    }
    told = json.loads((bundle.path / "training.json").read_text())["rendered"]
    assert (told["measured_models"], told["served_models"]) == ([0, 12], [0, 12])
    assert told["digest"] == load_dataset(vessels).digest()


def test_interrupted_with_rendered_vessels_it_ends_as_uninterrupted(
    photos: Path, tmp_path: Path, mixed: TrainSettings
) -> None:
    two = mixed.model_copy(update={"members": 2, "epochs": 2})
    check_interruption_within_the_second_member(photos, tmp_path, two)


def test_what_is_asked_for_is_rendered_once_with_the_collections_labels(
    photos: Path, tmp_path: Path, settings: TrainSettings
) -> None:
    pytest.importorskip("vtkmodules")
    dataset = load_dataset(photos)
    asked = settings.model_copy(update={"rendered": "auto"})
    pool = find_rendered(dataset, dataset, asked, tmp_path, print)
    assert pool is not None
    known = {task: set(dataset.classes(task)) for task in dataset.records[0].labels}
    for record in pool.records:
        assert all(label is None or label in known[task] for task, label in record.labels.items())
    assert pool.draw(dataset.records, 1) == pool.draw(dataset.records, 1)
    drawn = pool.draw(dataset.records, 1)
    assert len(drawn) == 26  # 30 % of 86
    moved: list[tuple[int, int]] = []
    for few in (drawn[:2], drawn[:3]):  # the second time as after an interruption
        pool.render(few, lambda done, total: moved.append((done, total)))
    assert (moved[-2:], len(list((pool.root / "images").iterdir()))) == ([(2, 3), (3, 3)], 3)
    assert all((pool.root / record.file_name).is_file() for record in drawn[:3])


FOREIGN = {"dynasty": "meiji", "glaze": "satsuma", "kiln": None, "type": "vase"}


def without_renderer(name: str) -> None:
    """As `find_spec` where nothing is installed."""
    return


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"labels": FOREIGN}, "0 of the 60"),
        ({"synthetic": True}, "synthetic pictures already"),
        ({"extra": {"source": "rendered"}}, "rendered pictures itself"),
        ({}, "not installed"),
    ],
)
def test_auto_says_why_nothing_is_rendered_and_a_share_is_refused(
    photos: Path,
    tmp_path: Path,
    settings: TrainSettings,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, object],
    why: str,
) -> None:
    if not change:
        monkeypatch.setattr(rendered, "find_spec", without_renderer)
    records = tuple(replace(r, **change) for r in load_dataset(photos).records)  # type: ignore[arg-type]
    dataset = Dataset(photos, records)
    said: list[str] = []
    auto = settings.model_copy(update={"rendered": "auto"})
    assert find_rendered(dataset, dataset, auto, tmp_path, said.append) is None
    assert len(said) == 1
    assert why in said[0]
    share = settings.model_copy(update={"rendered": "0.3"})
    with pytest.raises(UserError, match=why):
        find_rendered(dataset, dataset, share, tmp_path, said.append)
    none = settings.model_copy(update={"rendered": "none"})
    assert find_rendered(dataset, dataset, none, tmp_path, said.append) is None
    assert len(said) == 1


def test_photographs_and_other_labels_are_refused_as_rendered(
    photos: Path, tmp_path: Path, settings: TrainSettings
) -> None:
    dataset = load_dataset(photos)
    given = settings.model_copy(update={"rendered": str(photos)})
    with pytest.raises(DatasetError, match=r"images/000.jpg is not declared to be rendered"):
        find_rendered(dataset, dataset, given, tmp_path, print)
    other = replace(dataset.records[0], synthetic=True)
    other = replace(other, labels=other.labels | {"glaze": "satsuma"})
    (tmp_path / "images").mkdir()
    (tmp_path / other.file_name).write_bytes(dataset.path(other).read_bytes())
    write_metadata(tmp_path, [other])
    given = settings.model_copy(update={"rendered": str(tmp_path)})
    with pytest.raises(DatasetError, match=r"glaze label\(s\) satsuma"):
        find_rendered(dataset, dataset, given, tmp_path, print)


def test_a_share_is_between_nothing_and_all() -> None:
    assert build_settings(TrainSettings, rendered="0.4").share_of_rendered() == 0.4
    for wrong in ("0", "1", "30"):
        with pytest.raises(UserError, match=r"--rendered: .*no share between 0 and 1"):
            build_settings(TrainSettings, rendered=wrong)
    sees = [
        [TrainSettings(members=n, photograph_members=alone).sees_rendered(i) for i in range(n)]
        for n, alone in ((3, 1), (1, 1), (2, 5), (2, 0))
    ]
    assert sees == [[False, True, True], [True], [False, True], [True, True]]


def test_pictures_of_two_files_are_taken_as_one() -> None:
    first, second = (
        np.random.default_rng(seed).integers(0, 256, (4, 2, 2, 3), dtype=np.uint8)
        for seed in (0, 1)
    )
    pictures = Pictures(first, {}, added=(second, np.array([3, 1])))
    assert len(pictures) == 6
    taken = pictures.take(np.array([5, 0, 4]))
    np.testing.assert_array_equal(taken, [second[1], first[0], second[3]])


def test_the_renderer_is_not_imported_before_it_is_wanted() -> None:
    code = "import sys; import training.classifier.pipeline; print('vtkmodules' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
