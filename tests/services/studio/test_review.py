"""The order of review, its keys, and the dataset folder that it leaves."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from porcelain.dataset import load_dataset
from porcelain.errors import UserError
from services.studio.folders import Entry, dataset_zip, save_dataset
from services.studio.ordering import doubt, review_order
from services.studio.queue import Item, ReviewQueue
from tests import pictures
from tests.services.studio.answers import answer


def test_doubt_is_none_when_sure_and_full_when_anything_may_be() -> None:
    assert doubt(answer(1.0, 0.0, 0.0)) == pytest.approx(0.0, abs=1e-6)
    assert doubt(answer(1 / 3, 1 / 3, 1 / 3)) == pytest.approx(1.0)


def test_the_least_certain_comes_first_and_then_what_differs_from_it() -> None:
    puzzling, twin = answer(0.5, 0.45, 0.05), answer(0.5, 0.45, 0.05)
    other, sure = answer(0.05, 0.4, 0.55), answer(0.98, 0.01, 0.01)
    order = review_order([sure, puzzling, twin, other])
    assert set(order[:2]) in ({1, 3}, {2, 3})  # both puzzles before the twin
    assert sorted(order) == [0, 1, 2, 3]
    assert review_order([]) == []


def test_keys_alone_correct_confirm_and_go_back() -> None:
    queue = ReviewQueue()
    queue.add(Item("one", b"1", answer(0.6, 0.3, 0.1)))
    queue.add(Item("two", b"2", answer(0.9, 0.1, 0.0)))
    first = queue.current
    assert first is not None
    for key in ("ArrowRight", "ArrowDown", "3", "ArrowDown", "u", "Enter"):
        assert queue.press(key)
    assert first.labels == {"dynasty": "b", "glaze": "c", "kiln": None, "type": "a"}
    assert queue.current is not first
    assert queue.done == [first]
    queue.press("Backspace")
    assert queue.current is first
    assert not queue.press("F5")


def test_where_the_model_abstained_the_label_begins_unknown() -> None:
    item = Item("one", b"1", answer(0.6, 0.3, 0.1, abstained=True))
    assert set(item.labels.values()) == {None}


def test_a_new_picture_does_not_move_the_one_on_screen() -> None:
    queue = ReviewQueue()
    queue.add(Item("sure", b"1", answer(0.99, 0.01, 0.0)))
    queue.add(Item("doubtful", b"2", answer(0.4, 0.3, 0.3)))
    assert queue.current is not None
    assert queue.current.name == "sure"
    assert [item.name for item in queue.items] == ["sure", "doubtful"]


def test_the_zip_and_the_saved_folder_hold_the_same_and_are_read_as_a_dataset(
    tmp_path: Path,
) -> None:
    data = pictures.jpeg()
    labels = {"dynasty": "song", "glaze": None, "kiln": None, "type": "bowl"}
    entries = [Entry(data, labels), Entry(data, labels)]
    with zipfile.ZipFile(io.BytesIO(dataset_zip(entries))) as archive:
        archive.extractall(tmp_path / "zip")
    for folder in (tmp_path / "zip", save_dataset(tmp_path / "reviews", entries)):
        (record,) = load_dataset(folder).records
        assert record.labels == labels
        assert (folder / record.file_name).read_bytes() == data


def test_a_picture_that_the_classifier_warned_of_is_declared_synthetic() -> None:
    item = Item("one", b"1", answer(0.6, 0.3, 0.1, warnings=["It is synthetic."]))
    assert item.entry().synthetic


def test_nothing_to_save_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to save"):
        save_dataset(tmp_path, [])
