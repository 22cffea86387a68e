from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from porcelain.dataset import load_dataset
from tests.training.data.folders import encoded, jpeg_of, record, vessel, write_folder
from training.data.alignment import THUMBNAIL, similarity
from training.data.duplicates import find_duplicates, join_pairs
from training.data.fingerprints import fingerprint, fingerprint_dataset
from training.data.groups import join_groups

PHOTOGRAPHS = Path(__file__).parents[4] / "shared" / "data" / "porcelain-photos"


def shrink(image: Image.Image) -> bytes:
    return jpeg_of(image.resize((image.width // 2, image.height // 2)), 60)


def crop(image: Image.Image) -> bytes:
    width, height = image.size
    return jpeg_of(image.crop((int(0.03 * width), int(0.01 * height), int(0.98 * width), height)))


CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "resaved": lambda image: jpeg_of(image, 30),
    "resized": shrink,
    "enlarged": lambda image: jpeg_of(image.resize((image.width * 2, image.height * 2))),
    "cropped": crop,
    "mirrored": lambda image: jpeg_of(ImageOps.mirror(image), 70),
    "brightened": lambda image: jpeg_of(ImageEnhance.Brightness(image).enhance(1.1)),
    "grey": lambda image: jpeg_of(image.convert("L")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found_and_nothing_else(tmp_path, change):
    names = [f"{i}.jpg" for i in range(12)]
    pictures = {name: jpeg_of(vessel(i)) for i, name in enumerate(names)}
    pictures |= {f"copy_{i}.jpg": CHANGES[change](vessel(i)) for i in range(6)}
    records = [record(name) for name in pictures]
    dataset = load_dataset(write_folder(tmp_path, records, pictures))
    pairs = find_duplicates(fingerprint_dataset(dataset))
    assert [(pair.first, pair.second) for pair in pairs] == [(i, 12 + i) for i in range(6)]
    assert {pair.kind for pair in pairs} == {"near"}
    assert {pair.mirrored for pair in pairs} == {change == "mirrored"}


def test_exact_copies_are_told_from_equal_pixels(tmp_path):
    image = vessel(1)
    png = encoded(image, "PNG")
    pictures = {
        "a.png": png,
        "b.png": png,
        "c.png": encoded(image, "PNG", compress_level=1),
        "d.png": encoded(vessel(2), "PNG"),
    }
    records = [record(name) for name in pictures]
    dataset = load_dataset(write_folder(tmp_path, records, pictures))
    pairs = find_duplicates(fingerprint_dataset(dataset))
    assert [(p.first, p.second, p.kind) for p in pairs] == [(0, 1, "file"), (0, 2, "pixels")]


def test_unreadable_and_blank_pictures_are_nobodys_copies(tmp_path):
    pictures = {
        "empty_1.jpg": b"",
        "empty_2.jpg": b"",
        "white.png": encoded(Image.new("RGB", (80, 80), "white"), "PNG"),
        "grey.png": encoded(Image.new("RGB", (80, 80), "grey"), "PNG"),
    }
    records = [record(name) for name in pictures]
    dataset = load_dataset(write_folder(tmp_path, records, pictures))
    assert find_duplicates(fingerprint_dataset(dataset)) == []


def test_many_copies_of_one_picture_make_one_group(tmp_path):
    image = vessel(3)
    pictures = {f"{quality}.jpg": jpeg_of(image, quality) for quality in range(40, 90, 2)}
    pictures["other.jpg"] = jpeg_of(vessel(4))
    records = [record(name) for name in pictures]
    dataset = load_dataset(write_folder(tmp_path, records, pictures))
    groups = join_pairs(len(dataset), find_duplicates(fingerprint_dataset(dataset)))
    assert groups == [list(range(25))]


def test_similarity_recovers_shift_and_scale():
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (40, 40), dtype=np.uint8))
    large = noise.resize((400, 400), Image.Resampling.BICUBIC)
    side = (THUMBNAIL, THUMBNAIL)
    one = np.asarray(large.resize(side, Image.Resampling.BOX))
    other = np.asarray(large.crop((8, 4, 392, 390)).resize(side, Image.Resampling.BOX))
    unlike = np.asarray(large.rotate(90).resize(side, Image.Resampling.BOX))
    pairs = np.asarray([[0, 0], [0, 1], [0, 2]])
    scores = similarity(one[None], np.stack([one, other, unlike]), pairs)
    assert scores[0] > 0.999
    assert scores[1] > 0.94
    assert scores[2] == 0


def test_fingerprint_tells_what_is_wrong(tmp_path):
    good = jpeg_of(vessel(0))
    for name, content in {"empty": b"", "cut": good[:900], "text": b"hello there"}.items():
        (tmp_path / name).write_bytes(content)
    problems = {
        name: fingerprint(tmp_path / name, name).problem for name in ("empty", "cut", "text")
    }
    assert problems == {"empty": "empty", "cut": "corrupt", "text": "unsupported"}
    assert fingerprint(tmp_path / "gone", "gone").problem == "missing"


def test_groups_join_objects_and_copies_into_one():
    records = [record(f"{i}.jpg", object_id=key) for i, key in enumerate("aabbc")]
    groups = join_groups([*records, record("5.jpg")], [["1.jpg", "2.jpg", "unknown.jpg"]])
    assert groups == [[0, 1, 2, 3], [4], [5]]


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="the photographs are not here")
@pytest.mark.slow
def test_sister_objects_on_museum_backdrops_are_not_copies():
    dataset = load_dataset(PHOTOGRAPHS)
    prints = fingerprint_dataset(dataset)
    pairs = [(prints[p.first].name, prints[p.second].name) for p in find_duplicates(prints)]
    assert pairs == [("images/0659.jpg", "images/0716.jpg")]
