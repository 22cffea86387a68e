import numpy as np
import pytest
from PIL import Image

from porcelain.dataset import load_dataset
from porcelain.errors import DatasetError
from porcelain.watermark import embed_watermark
from tests.training.data.folders import jpeg_of, marked_png, record, vessel, write_folder
from training.data.undeclared import refuse_undeclared


def watermarked(seed):
    return jpeg_of(Image.fromarray(embed_watermark(np.asarray(vessel(seed)))), quality=75)


def folder(root, pictures, declared=()):
    records = [record(name, synthetic=name in declared) for name in pictures]
    return load_dataset(write_folder(root, records, pictures))


def test_photographs_declared_and_unreadable_pictures_pass(tmp_path):
    pictures = {
        "a.jpg": jpeg_of(vessel(0)),
        "b.png": marked_png(vessel(1)),
        "c.jpg": watermarked(2),
        "broken.jpg": jpeg_of(vessel(3))[:200],
    }
    refuse_undeclared(folder(tmp_path, pictures, declared={"b.png", "c.jpg"}))


def test_pictures_declared_real_are_refused_and_named(tmp_path):
    pictures = {"a.jpg": jpeg_of(vessel(0)), "b.png": marked_png(vessel(1))}
    pictures |= {f"c{i}.jpg": watermarked(i) for i in range(6)}
    with pytest.raises(DatasetError, match=r"^7 picture.*: b\.png, c0\.jpg.* and 2 more; ") as told:
        refuse_undeclared(folder(tmp_path, pictures))
    assert "a.jpg" not in str(told.value)
    assert "\n" not in str(told.value)


def test_a_picture_that_was_replaced_is_looked_at_anew(tmp_path):
    dataset = folder(tmp_path, {"a.jpg": jpeg_of(vessel(0))})
    refuse_undeclared(dataset)
    (tmp_path / "a.jpg").write_bytes(watermarked(0))
    with pytest.raises(DatasetError, match=r"a\.jpg"):
        refuse_undeclared(dataset)
