"""The index of training pictures: what it finds, what it holds, what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from porcelain.bundle import Bundle, Manifest
from porcelain.dataset import Record
from porcelain.errors import BundleError
from porcelain.files import sha256_file
from porcelain.similar import (
    FEATURES_FILE,
    ROWS_FILE,
    encode_index,
    has_index,
    load_index,
    may_be_shared,
)


def record(place: int, object_id: str | None = None, **extra: str) -> Record:
    labels = {"dynasty": "song", "glaze": None, "kiln": None, "type": "bowl"}
    return Record(f"images/{place}.jpg", labels, object_id, False, extra)


def written(folder: Path, files: dict[str, bytes]) -> Bundle:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    manifest = Manifest.model_construct(
        files={name: sha256_file(folder / name) for name in files}, classifier=None
    )
    return Bundle.model_construct(path=folder, manifest=manifest)


def test_the_nearest_come_first_whatever_their_length(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(1, 1, (5000, 64))
    bundle = written(tmp_path, encode_index(features, [record(i) for i in range(5000)], {}))
    index = load_index(bundle)
    near = features[4321] * 3 + np.random.default_rng(1).normal(0, 0.01, 64)
    first, *others = index.search(near, 5)
    assert first.picture.file_name == "images/4321.jpg"
    assert first.similarity == pytest.approx(1, abs=2e-3)
    assert first.picture.labels == {"dynasty": "song", "type": "bowl"}
    assert [one.similarity for one in others] == sorted(
        (one.similarity for one in others), reverse=True
    )
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    centred = unit - unit.mean(axis=0)
    cosines = (centred @ centred[4321]) / np.linalg.norm(centred, axis=1)
    best = np.argsort(-cosines)[:5]
    assert {f"images/{i}.jpg" for i in best} == {
        match.picture.file_name for match in (first, *others)
    }


def test_one_object_is_shown_once_and_few_pictures_give_few(tmp_path: Path) -> None:
    features = np.array([[1, 0, 0.02], [1, 0.01, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
    rows = [record(0, "vase"), record(1, "vase"), record(2), record(3)]
    found = load_index(written(tmp_path, encode_index(features, rows, {}))).search(features[1], 9)
    assert found[0].picture.file_name == "images/1.jpg"
    assert len(found) == 3
    assert [match.picture.object_id for match in found].count("vase") == 1


def test_it_holds_the_copies_it_was_given_and_no_other_picture(tmp_path: Path) -> None:
    features = np.eye(4, dtype=np.float32)
    rows = [record(i, source="a museum", license="CC0-1.0", credit_line="Gift") for i in range(4)]
    files = encode_index(features, rows, {1: b"JPEG one", 3: b"three"})
    index = load_index(written(tmp_path, files))
    copies = {m.picture.file_name: m.thumbnail for m in index.search(features[0], 4)}
    assert copies == {
        "images/0.jpg": None,
        "images/1.jpg": b"JPEG one",
        "images/2.jpg": None,
        "images/3.jpg": b"three",
    }
    assert b"JPEG" not in encode_index(features, rows, {})[FEATURES_FILE]
    picture = index.search(features[0], 1)[0].picture
    assert (picture.source, picture.license, picture.credit_line) == ("a museum", "CC0-1.0", "Gift")


@pytest.mark.parametrize(
    ("license", "shared"),
    [
        ("CC0-1.0", True),
        ("CC0", True),
        ("PDM-1.0", True),
        ("Public Domain", True),
        ("CC-BY-4.0", True),
        ("cc by-sa 4.0", True),
        ("CC-BY-NC-4.0", False),
        ("CC-BY-ND-4.0", False),
        ("CC-BY-NC-SA-4.0", False),
        ("not stated", False),
        ("All rights reserved, not CC0", False),
        ("", False),
    ],
)
def test_only_free_licences_let_a_copy_be_passed_on(license: str, shared: bool) -> None:
    assert may_be_shared(record(0, license=license)) is shared
    assert not may_be_shared(record(0))


def test_no_index_and_a_damaged_one_are_said(tmp_path: Path) -> None:
    files = encode_index(np.eye(3, dtype=np.float32), [record(i) for i in range(3)], {})
    bundle = written(tmp_path, files)
    assert has_index(bundle)
    (tmp_path / ROWS_FILE).write_bytes(files[ROWS_FILE].replace(b"song", b"tang"))
    with pytest.raises(BundleError, match="no longer what was loaded"):
        load_index(bundle)
    for name, damaged in (
        (ROWS_FILE, b'{"pictures": []}'),
        (ROWS_FILE, b"[]"),
        (ROWS_FILE, b'{"pictures": [{"file_name": 3}]}'),
        (FEATURES_FILE, b"garbage"),
    ):
        with pytest.raises(BundleError, match=r"cannot be read|do not fit"):
            load_index(written(tmp_path, {**files, name: damaged}))
    empty = written(tmp_path, {})
    assert not has_index(empty)
    with pytest.raises(BundleError, match="keeps no index"):
        load_index(empty)
    with pytest.raises(ValueError, match="3 features of 2 pictures"):
        encode_index(np.eye(3, dtype=np.float32), [record(0), record(1)], {})
