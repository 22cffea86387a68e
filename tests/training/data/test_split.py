from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from porcelain.dataset import Dataset, load_dataset, write_metadata
from porcelain.errors import DatasetError, UserError
from porcelain.vocabulary import TASKS
from tests.training.data.folders import (
    collection,
    jpeg_of,
    labels_of,
    marked_png,
    record,
    vessel,
    write_folder,
)
from training.data.partition import SUBSETS, fold_records, split_records
from training.data.split import (
    load_split,
    make_folds,
    make_split,
    read_split,
    split_or_make,
    write_split,
)

FRACTIONS = (0.8, 0.1, 0.1)
LABELS = st.fixed_dictionaries(
    {task: st.sampled_from([None, "a", "a", "a", "b", "b", "c"]) for task in TASKS}
)
ROWS = st.lists(
    st.tuples(LABELS, st.none() | st.integers(0, 12), st.integers(0, 9).map(lambda i: i == 0)),
    min_size=1,
    max_size=60,
)
SHARES = st.sampled_from([FRACTIONS, (0.7, 0.1, 0.2), (0.6, 0.2, 0.2), (0.8, 0.0, 0.2)])


def records_of(rows):
    return [
        record(f"{i}.jpg", labels, object_id=None if key is None else str(key), synthetic=synthetic)
        for i, (labels, key, synthetic) in enumerate(rows)
    ]


def long_tail(count: int, seed: int):
    """Records whose labels per task fall off as 1/rank, without objects."""
    rng = np.random.default_rng(seed)
    chance = 1 / np.arange(1, 9)
    chance /= chance.sum()
    return [
        record(f"{i}.jpg", labels_of(*(f"l{k}" for k in rng.choice(8, 4, p=chance))))
        for i in range(count)
    ]


def spread(records, names) -> float:
    """How far labels in test are from a tenth, as a share of each label's pictures."""
    test = frozenset(names["test"])
    deviations = []
    for task in TASKS:
        everywhere = Counter(r.labels[task] for r in records)
        tested = Counter(r.labels[task] for r in records if r.file_name in test)
        deviations += [abs(tested[k] - 0.1 * n) / n for k, n in everywhere.items()]
    return float(np.mean(deviations))


@settings(max_examples=150, deadline=None)
@given(rows=ROWS, fractions=SHARES, seed=st.integers(0, 1000))
def test_every_picture_once_groups_whole_synthetic_only_in_train(rows, fractions, seed):
    records = records_of(rows)
    groups = [[f"{i}.jpg", f"{i + 1}.jpg"] for i in range(0, len(records) - 1, 7)]
    names = split_records(records, fractions, seed, groups)
    part_of = {name: part for part in SUBSETS for name in names[part]}
    assert sum(len(names[part]) for part in SUBSETS) == len(records)
    assert part_of.keys() == {r.file_name for r in records}
    assert names == split_records(records, fractions, seed, groups)
    for group in groups:
        assert len({part_of[name] for name in group}) == 1
    for key in {r.object_id for r in records} - {None}:
        assert len({part_of[r.file_name] for r in records if r.object_id == key}) == 1
    assert all(part_of[r.file_name] == "train" for r in records if r.synthetic)
    if fractions[1] == 0:
        assert not names["validation"]


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, seed=st.integers(0, 1000))
def test_every_label_is_trained_on(rows, seed):
    records = records_of(rows)
    train = frozenset(split_records(records, FRACTIONS, seed)["train"])
    for task in TASKS:
        trained = {r.labels[task] for r in records if r.file_name in train}
        assert {r.labels[task] for r in records} - {None} <= trained


@settings(max_examples=25, deadline=None)
@given(count=st.integers(150, 600), seed=st.integers(0, 1000))
def test_parts_have_the_sizes_asked_for(count, seed):
    names = split_records(long_tail(count, seed), FRACTIONS, seed)
    for part, share in zip(SUBSETS, FRACTIONS, strict=True):
        assert abs(len(names[part]) / count - share) < 0.04


@pytest.mark.parametrize("seed", range(5))
def test_labels_are_spread_far_better_than_by_chance(seed):
    records = long_tail(400, seed)
    ours = spread(records, split_records(records, FRACTIONS, seed))
    rng = np.random.default_rng(seed)
    by_chance = []
    for _ in range(50):
        order = rng.permutation(len(records))
        by_chance.append(spread(records, {"test": [f"{i}.jpg" for i in order[:40]]}))
    assert ours < 0.5 * min(by_chance)


def test_rare_labels_reach_test_before_validation():
    common = [record(f"{i}.jpg", labels_of("song", "white", "ding", "bowl")) for i in range(100)]
    rare = {1: [1, 0, 0], 2: [1, 0, 1], 3: [2, 0, 1], 4: [2, 1, 1], 6: [4, 1, 1]}
    extra = [
        record(f"{n}_{i}.jpg", labels_of("song", "white", "ding", f"rare_{n}"))
        for n in rare
        for i in range(n)
    ]
    for seed in range(5):
        names = split_records(common + extra, FRACTIONS, seed)
        for n, expected in rare.items():
            found = [sum(name.startswith(f"{n}_") for name in names[part]) for part in SUBSETS]
            assert found == expected


def test_seeds_differ():
    records = long_tail(100, 0)
    assert split_records(records, FRACTIONS, 0) != split_records(records, FRACTIONS, 1)


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.2), (1.2, -0.1, -0.1), (0.0, 0.5, 0.5)])
def test_bad_shares_are_refused(fractions):
    with pytest.raises(UserError):
        split_records([record("a.jpg")], fractions, 0)


def test_folds_test_every_real_picture_once():
    records = [replace(r, object_id=str(i // 2)) for i, r in enumerate(long_tail(120, 1))]
    records += [record(f"s{i}.png", synthetic=True) for i in range(10)]
    folds = fold_records(records, 5, seed=3)
    tested = Counter(name for names in folds for name in names["test"])
    assert tested == Counter(r.file_name for r in records if not r.synthetic)
    for names in folds:
        assert sum(len(names[part]) for part in SUBSETS) == len(records)
        assert {f"s{i}.png" for i in range(10)} <= set(names["train"])
        assert abs(len(names["test"]) - 24) <= 4
        assert abs(len(names["validation"]) - 12) <= 4
        part_of = {name: part for part in SUBSETS for name in names[part]}
        assert all(part_of[f"{i}.jpg"] == part_of[f"{i + 1}.jpg"] for i in range(0, 120, 2))
    assert folds == fold_records(records, 5, seed=3)


@pytest.mark.parametrize(("folds", "validation"), [(1, 0.1), (20, 0.1), (2, 0.6)])
def test_impossible_folds_are_refused(folds, validation):
    with pytest.raises(UserError):
        fold_records(long_tail(10, 0), folds, 0, validation=validation)


def test_make_split_keeps_changed_copies_together(tmp_path):
    pictures = {f"{i}.jpg": jpeg_of(vessel(i)) for i in range(20)}
    pictures |= {f"copy_{i}.jpg": jpeg_of(vessel(i), 40) for i in range(20)}
    dataset = load_dataset(write_folder(tmp_path, [record(n) for n in pictures], pictures))
    for seed in range(3):
        split = make_split(dataset, (0.5, 0.25, 0.25), seed)
        assert all(
            split.subset_of(f"{i}.jpg") == split.subset_of(f"copy_{i}.jpg") for i in range(20)
        )


def test_marked_pictures_are_trained_on_even_where_declared_real(tmp_path):
    pictures = {f"{i}.png": marked_png(vessel(i)) for i in range(10)}
    pictures |= {f"real_{i}.jpg": jpeg_of(vessel(20 + i)) for i in range(10)}
    dataset = load_dataset(write_folder(tmp_path, [record(n) for n in pictures], pictures))
    split = make_split(dataset, (0.4, 0.3, 0.3))
    assert {f"{i}.png" for i in range(10)} <= set(split.names["train"])
    assert len(split.names["test"]) == 3
    forged = replace(split, names={**split.names, "train": (), "test": split.names["train"]})
    forged.names["test"] += split.names["test"]
    write_split(tmp_path / "forged.json", forged)
    with pytest.raises(DatasetError, match="synthetic"):
        load_split(tmp_path / "forged.json", dataset)


def test_file_round_trip_and_default_place(tmp_path):
    dataset = collection(tmp_path, 20)
    split = make_split(dataset, seed=4)
    assert split_or_make(dataset, None, seed=4) == split
    write_split(tmp_path / "split.json", split)
    assert load_split(tmp_path / "split.json", dataset) == split
    assert split_or_make(dataset, None, seed=5) == split
    assert split.dataset_digest == dataset.digest()
    assert split.subset_by_name().keys() == {r.file_name for r in dataset.records}
    with pytest.raises(KeyError):
        split.subset_of("nowhere.jpg")


def test_file_that_does_not_fit_is_refused(tmp_path):
    dataset = collection(tmp_path, 12)
    path = tmp_path / "split.json"
    write_split(path, make_split(dataset, groups=()))
    content = json.loads(path.read_text())

    def refused(part: str, change, message: str, against: Dataset = dataset) -> None:
        altered = json.loads(json.dumps(content))
        altered["subsets"][part] = change(altered["subsets"][part])
        path.write_text(json.dumps(altered))
        with pytest.raises(DatasetError, match=message):
            load_split(path, against)

    refused("train", lambda names: names[1:], "says nothing of 1 picture")
    refused("train", lambda names: [*names, "other.jpg"], "does not have, first other.jpg")
    refused("test", lambda names: [*names, content["subsets"]["train"][0]], "more than once")
    declared = [replace(r, synthetic=True) for r in dataset.records]
    write_metadata(tmp_path, declared)
    refused("train", lambda names: names, "synthetic", load_dataset(tmp_path))
    for broken in ("", "{}", '{"schema_version": 2}', "[1]", "\x00"):
        path.write_text(broken)
        with pytest.raises(DatasetError, match="not a valid split file"):
            read_split(path)
    with pytest.raises(DatasetError, match="no split file"):
        read_split(tmp_path / "none.json")


def test_make_folds_records_the_dataset(tmp_path):
    dataset = collection(tmp_path, 12)
    folds = make_folds(dataset, 3, groups=())
    assert [split.dataset_digest for split in folds] == [dataset.digest()] * 3
    assert folds[0].fractions == pytest.approx((1 - 1 / 3 - 0.1, 0.1, 1 / 3))
