"""Copies of photographs and of each other, on pictures made to be copies and made not to be."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from porcelain.dataset import Record
from tests.training.data.folders import ANY, encoded, vessel
from training.data.duplicates import SAME_DETAIL
from training.data.fingerprints import fingerprint
from training.generator.synthesis.copies import (
    LEAST_DETAIL,
    CopyThresholds,
    Descriptors,
    descriptors_of,
    find_repeats,
    groups_of,
    learn_thresholds,
    pair_distances,
)

COUNT = 40


@pytest.fixture(scope="module")
def look(tmp_path_factory):
    """Looks of pictures, as read from files."""
    folder = tmp_path_factory.mktemp("looks")

    def read(pictures: dict[str, Image.Image], features=None) -> Descriptors:
        prints = []
        for name, picture in pictures.items():
            (folder / name).write_bytes(encoded(picture, "PNG"))
            prints.append(fingerprint(folder / name, name))
        return descriptors_of(prints, features)

    return read


@pytest.fixture(scope="module")
def photographs(look):
    return look({f"{i}.png": vessel(i) for i in range(COUNT)})


@pytest.fixture(scope="module")
def thresholds(photographs):
    return learn_thresholds(photographs, np.arange(COUNT))


def smeared(image):
    """As an autoencoder and a sampler leave it: fine detail gone, some grain."""
    small = image.resize((128, 128), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(1.5))
    grain = np.random.default_rng(0).normal(0, 6, (128, 128, 3))
    return Image.fromarray((np.asarray(small) + grain).clip(0, 255).astype(np.uint8))


def cropped(image):
    width, height = image.size
    return image.crop((width // 20, height // 20, width - width // 20, height - height // 20))


def pressed(image):
    return Image.open(io.BytesIO(encoded(image.resize((128, 128)), "JPEG", quality=30)))


@pytest.mark.parametrize(
    "change",
    [lambda image: image, smeared, cropped, pressed, ImageOps.mirror, ImageOps.autocontrast],
    ids=["same", "smeared", "cropped", "pressed", "mirrored", "contrast"],
)
def test_changed_copies_are_found_with_their_originals(look, photographs, thresholds, change):
    chosen = range(0, COUNT, 4)
    near = pair_distances(look({f"c{i}.png": change(vessel(i)) for i in chosen}), photographs)
    flags = near.copies(thresholds)
    assert flags[np.arange(len(chosen)), list(chosen)].all()
    assert flags.sum() == len(chosen)


def test_new_vessels_are_hardly_ever_taken_for_copies(look, photographs, thresholds):
    # Each is as likely nearest of all as any of the photographs was: one in forty.
    new = look({f"n{i}.png": vessel(1000 + i) for i in range(60)})
    taken = pair_distances(new, photographs).copies(thresholds).any(axis=1)
    assert taken.mean() < 0.1


def test_thresholds_come_from_photographs_of_different_objects(photographs):
    everyone = learn_thresholds(photographs, np.arange(COUNT), quantile=0.5)
    nearest = np.sort(
        [
            min(
                float(
                    min(
                        pair_distances(photographs.take([i]), photographs.take([j])).bits[0, 0], 128
                    )
                )
                for j in range(COUNT)
                if j != i
            )
            for i in range(COUNT)
        ]
    )
    assert everyone.bits == np.quantile(nearest, 0.5)
    assert learn_thresholds(photographs, np.zeros(COUNT, dtype=np.int64)) == CopyThresholds()


def test_detail_is_asked_for_as_photographs_allow(photographs, thresholds, look):
    # Photographs that share none leave a margin; those that are alike leave what copies have.
    assert thresholds.detail == LEAST_DETAIL
    twins = look(
        {f"{i}.png": cropped(vessel(i // 2)) if i % 2 else vessel(i // 2) for i in range(20)}
    )
    assert learn_thresholds(twins, np.arange(20)).detail == SAME_DETAIL


def test_photographs_of_one_object_do_not_lower_the_threshold(look):
    pictures = {f"p{i}.png": vessel(i) for i in range(12)}
    pictures |= {f"q{i}.png": smeared(vessel(i)) for i in range(12)}
    descriptors = look(pictures)
    apart = learn_thresholds(descriptors, np.arange(24))
    together = learn_thresholds(descriptors, np.tile(np.arange(12), 2))
    assert together.bits > apart.bits


def test_groups_join_objects_and_copies(tmp_path):
    pictures = [vessel(0), vessel(1), vessel(2), vessel(1)]
    objects = ["a", "b", "a", None]
    prints, records = [], []
    for i, (picture, name) in enumerate(zip(pictures, objects, strict=True)):
        (tmp_path / f"{i}.png").write_bytes(encoded(picture, "PNG"))
        prints.append(fingerprint(tmp_path / f"{i}.png", f"{i}.png"))
        records.append(Record(f"{i}.png", dict(ANY), name))
    groups = groups_of(records, prints)
    assert groups[0] == groups[2] != groups[1] == groups[3]


def test_features_find_a_copy_that_looks_different(look):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(20, 8)).astype(np.float32)
    photographs = look({f"p{i}.png": vessel(i) for i in range(20)}, features)
    thresholds = learn_thresholds(photographs, np.arange(20))
    assert thresholds.features is not None
    assert thresholds.features > 0
    # The third is like photograph 7 in direction, which is what counts, and not in length.
    new = rng.normal(size=(3, 8)).astype(np.float32)
    new[2] = 3 * features[7]
    near = pair_distances(look({f"n{i}.png": vessel(100 + i) for i in range(3)}, new), photographs)
    assert np.argwhere(near.copies(thresholds)).tolist() == [[2, 7]]
    # Without features on one side the other measures decide alone.
    plain = look({f"n{i}.png": vessel(100 + i) for i in range(3)})
    assert pair_distances(plain, photographs).features is None
    assert not pair_distances(plain, photographs).copies(CopyThresholds(features=0.5)).any()


def test_looks_join_and_take(photographs):
    some = photographs.take([3, 1])
    assert some.names == ("3.png", "1.png")
    both = some.join(photographs.take([5]))
    assert both.names == ("3.png", "1.png", "5.png")
    assert (both.hashes[2] == photographs.hashes[5]).all()
    assert len(descriptors_of([])) == 0
    assert pair_distances(some, descriptors_of([])).copies(CopyThresholds()).shape == (2, 0)


def flags(*rows):
    return np.asarray(rows, dtype=bool).reshape(len(rows), -1)


def test_the_first_of_a_series_stays():
    each_other = flags([1, 1, 1], [1, 1, 1], [1, 1, 1])
    nothing_kept = np.zeros((3, 0), dtype=bool)
    assert find_repeats(nothing_kept, each_other, np.ones(3, dtype=bool)) == [None, 0, 0]


def test_what_another_rule_drops_is_no_reason_to_drop_its_like():
    each_other = flags([1, 1], [1, 1])
    passing = np.asarray([False, True])
    assert find_repeats(np.zeros((2, 0), dtype=bool), each_other, passing) == [None, None]


def test_what_was_kept_earlier_counts_and_is_named_first():
    kept = flags([0, 1], [0, 0])
    assert find_repeats(kept, np.eye(2, dtype=bool), np.ones(2, dtype=bool)) == [1, None]


def test_a_repeat_is_not_itself_repeated():
    # 1 repeats 0 and is dropped; 2 is like 1 alone, and stays.
    each_other = flags([1, 1, 0], [1, 1, 1], [0, 1, 1])
    assert find_repeats(np.zeros((3, 0), dtype=bool), each_other, np.ones(3, dtype=bool)) == [
        None,
        0,
        None,
    ]
