from __future__ import annotations

import random
import tracemalloc
from collections import Counter

import pytest

from batch.inputs import recognise
from batch.listing import keep_listing, open_listing, sorted_on_disk
from porcelain.errors import UserError


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 1000])
def test_sorting_on_disk_sorts(tmp_path, count) -> None:
    texts = [f"{number} \udcff\n é" for number in range(count)]
    random.Random(3).shuffle(texts)
    assert list(sorted_on_disk(texts, tmp_path, at_once=100)) == sorted(texts)


def listing_of(folder, text, *, begun=False, overwrite=False):
    listing, followed = open_listing(folder, recognise(text), begun=begun, overwrite=overwrite)
    return (listing if followed else keep_listing(listing)), followed


def test_a_folder_is_listed_once_in_order(tmp_path) -> None:
    photos, work = tmp_path / "photos", tmp_path / "work"
    for folder in (photos, work):
        folder.mkdir()
    for name in ("c.jpg", "a.jpg", "notes.txt", b"b\xff.jpg"):
        path = photos / (name if isinstance(name, str) else name.decode("utf-8", "surrogateescape"))
        path.write_bytes(b"")
    expected = [f"{photos}/{name}" for name in ("a.jpg", "b\udcff.jpg", "c.jpg")]
    listing, followed = listing_of(work, str(photos))
    assert (list(listing.entries()), listing.count, listing.left_out) == (expected, 3, 1)
    assert not followed
    (photos / "d.jpg").write_bytes(b"")
    again, followed = listing_of(work, str(photos), begun=True)
    assert followed
    assert list(again.entries()) == expected
    anew, followed = listing_of(work, str(photos))
    assert (anew.count, followed) == (4, False)


def test_a_list_that_has_changed_is_refused_or_begun_anew(tmp_path) -> None:
    paths, work = tmp_path / "paths", tmp_path / "work"
    work.mkdir()
    paths.write_text("b.jpg\na.jpg\n")
    listing_of(work, str(paths))
    assert listing_of(work, str(paths), begun=True)[1]
    paths.write_text("a.jpg\nb.jpg\n")
    with pytest.raises(UserError, match="other pictures than when this job began"):
        listing_of(work, str(paths), begun=True)
    listing, followed = listing_of(work, str(paths), begun=True, overwrite=True)
    assert not followed
    assert [path.rpartition("/")[2] for path in listing.entries()] == ["a.jpg", "b.jpg"]
    assert sorted(path.name for path in work.iterdir()) == ["inputs.jsonl", "listing.json"]


def test_no_pictures_are_a_mistake(tmp_path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "notes.txt").write_text("")
    with pytest.raises(UserError, match=r"has no pictures \(1 files of other kinds\)"):
        listing_of(tmp_path, str(tmp_path / "photos"))


def test_a_listing_takes_no_more_memory_for_more_pictures(tmp_path) -> None:
    def peak(count: int) -> int:
        paths, work = tmp_path / f"paths{count}", tmp_path / f"work{count}"
        work.mkdir()
        paths.write_text("".join(f"/museum/{number:012}.jpg\n" for number in range(count)))
        tracemalloc.start()
        listing, _ = listing_of(work, str(paths))
        assert sum(1 for _ in listing.entries()) == count
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10)  # imports and caches
    small, large = peak(1_000), peak(50_000)
    assert large < small + 200_000


def test_locations_are_counted_only_when_they_are_left_out(tmp_path) -> None:
    counts: Counter[str] = Counter()
    (tmp_path / "a.jpg").write_bytes(b"")
    assert len(list(recognise(str(tmp_path)).locations(counts))) == 1
    assert not counts
