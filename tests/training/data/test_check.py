from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from porcelain.bundle import SPLIT_FILE
from porcelain.dataset import load_dataset
from porcelain.errors import DatasetError
from porcelain.watermark import embed_watermark
from tests.training.data.folders import (
    XMP,
    collection,
    encoded,
    jpeg_of,
    labels_of,
    marked_png,
    record,
    vessel,
    write_folder,
)
from training.data.check import CheckReport, check_dataset
from training.data.split import make_split, write_split


def codes(report: CheckReport) -> dict[str, list[str]]:
    return {finding.code: finding.files for finding in report.findings}


def check_of(root: Path, pictures: dict[str, bytes], records=None) -> CheckReport:
    return check_dataset(write_folder(root, records or [record(n) for n in pictures], pictures))


def test_a_clean_folder_has_no_errors(tmp_path):
    dataset = collection(tmp_path, 30)
    write_split(tmp_path / SPLIT_FILE, make_split(dataset, groups=()))
    report = check_dataset(tmp_path)
    assert report.exit_status == 0
    assert codes(report).keys() <= {"single_class", "rare_class", "small_part"}
    assert (report.pictures, report.readable, report.synthetic) == (30, 30, 0)
    assert sum(report.parts.values()) == 30
    assert report.labels["type"] == {"bowl": 10, "dish": 10, "vase": 10}
    assert CheckReport.model_validate_json(report.model_dump_json()) == report


def test_copies_across_train_and_test_are_errors(tmp_path):
    content = [jpeg_of(vessel(i)) for i in range(6)]
    pictures = {f"train/{i}.jpg": content[i] for i in range(6)}
    pictures["test/exact.jpg"] = content[0]
    pictures["test/resaved.jpg"] = jpeg_of(vessel(1), 35)
    pictures["test/other.jpg"] = jpeg_of(vessel(50))
    pictures["val/near_train_only.jpg"] = jpeg_of(vessel(51))
    pictures["train/twin.jpg"] = content[5]
    report = check_of(tmp_path, pictures)
    found = codes(report)
    assert found["duplicate_across_splits"] == [
        "train/0.jpg (train) = test/exact.jpg (test)",
        "train/1.jpg (train) = test/resaved.jpg (test)",
    ]
    assert found["exact_duplicate"] == [
        "train/0.jpg = test/exact.jpg",
        "train/5.jpg = train/twin.jpg",
    ]
    assert found["near_duplicate"][0].startswith("train/1.jpg = test/resaved.jpg (similarity 0.9")
    assert report.exit_status == 1
    assert report.parts == {"test": 3, "train": 7, "validation": 1}


def test_copies_inside_one_part_or_without_a_split_are_warnings(tmp_path):
    content = jpeg_of(vessel(0))
    report = check_of(tmp_path, {"a.jpg": content, "b.jpg": content})
    assert "exact_duplicate" in codes(report)
    assert report.exit_status == 0
    assert report.split is None


def test_split_column_and_split_file_both_tell_the_parts(tmp_path):
    content = jpeg_of(vessel(0))
    pictures = {"a.jpg": content, "b.jpg": content, "c.jpg": jpeg_of(vessel(1))}
    parts = {"a.jpg": "Train", "b.jpg": "val", "c.jpg": "test"}
    records = [record(name, extra={"split": part}) for name, part in parts.items()]
    assert "duplicate_across_splits" in codes(check_of(tmp_path, pictures, records))
    # Our own split keeps copies together, and stands before what the column says.
    write_split(tmp_path / "ours.json", make_split(load_dataset(tmp_path), (0.5, 0.0, 0.5)))
    report = check_dataset(tmp_path, tmp_path / "ours.json")
    assert "duplicate_across_splits" not in codes(report)
    torn = make_split(load_dataset(tmp_path), groups=())
    torn.names.update(train=("a.jpg", "c.jpg"), validation=(), test=("b.jpg",))
    write_split(tmp_path / SPLIT_FILE, torn)
    assert codes(check_dataset(tmp_path))["duplicate_across_splits"] == [
        "a.jpg (train) = b.jpg (test)"
    ]


def test_unreadable_files_of_every_sort(tmp_path):
    good = jpeg_of(vessel(0))
    pictures = {
        "good.jpg": good,
        "half.jpg": good[: len(good) // 2],
        "cut.png": encoded(vessel(1), "PNG")[:-400],
        "zero.jpg": b"",
        "page.jpg": b"<!doctype html><title>Not found</title>",
    }
    report = check_of(tmp_path, pictures, [record(n) for n in [*pictures, "gone.jpg"]])
    found = codes(report)
    assert found["corrupt_file"] == ["half.jpg", "cut.png"]
    assert found["empty_file"] == ["zero.jpg"]
    assert found["unsupported_file"] == ["page.jpg"]
    assert found["missing_file"] == ["gone.jpg"]
    assert report.readable == 1
    assert report.exit_status == 1


def test_names_that_belie_the_content(tmp_path):
    pictures = {
        "a.jpg": encoded(vessel(0), "PNG"),
        "b.JPEG": jpeg_of(vessel(1)),
        "c.png": encoded(vessel(2), "WEBP", quality=95),
        "d": jpeg_of(vessel(3)),
    }
    report = check_of(tmp_path, pictures)
    assert codes(report)["wrong_extension"] == ["a.jpg is PNG", "c.png is WEBP", "d is JPEG"]
    assert report.exit_status == 0


def test_contradicting_labels_of_copies_and_of_one_object(tmp_path):
    content = jpeg_of(vessel(0))
    pictures = {
        "a.jpg": content,
        "b.jpg": content,
        "c.jpg": jpeg_of(vessel(1)),
        "d.jpg": jpeg_of(vessel(1), 50),
        "e.jpg": jpeg_of(vessel(2)),
        "f.jpg": jpeg_of(vessel(3)),
    }
    song, ming = (
        labels_of("song", "celadon", "yue", "bowl"),
        labels_of("ming", "celadon", None, "bowl"),
    )
    records = [
        record("a.jpg", song),
        record("b.jpg", ming),
        record("c.jpg", song),
        record("d.jpg", labels_of("song", None, "yue", "dish")),
        record("e.jpg", song, object_id="7"),
        record("f.jpg", ming, object_id="7"),
    ]
    report = check_of(tmp_path, pictures, records)
    found = codes(report)
    assert found["contradicting_duplicates"] == [
        "dynasty: a.jpg (song) = b.jpg (ming)",
        "type: c.jpg (bowl) = d.jpg (dish)",
    ]
    assert found["contradicting_object"] == ["7: dynasty: e.jpg (song) = f.jpg (ming)"]
    assert report.exit_status == 1


def test_an_object_in_two_parts_is_an_error(tmp_path):
    pictures = {"train/a.jpg": jpeg_of(vessel(0)), "test/b.jpg": jpeg_of(vessel(1))}
    report = check_of(tmp_path, pictures, [record(n, object_id="9") for n in pictures])
    assert codes(report)["object_across_splits"] == ["9: train/a.jpg (train), test/b.jpg (test)"]
    assert report.exit_status == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.png", marked_png(vessel(9))),
        ("m.jpg", encoded(vessel(9), "JPEG", xmp=XMP)),
        ("m.webp", encoded(vessel(9), "WEBP", xmp=XMP)),
    ],
)
def test_marked_pictures_never_count_as_real(tmp_path, name, content):
    pictures = {f"{i}.jpg": jpeg_of(vessel(i)) for i in range(3)} | {name: content}
    report = check_of(tmp_path, pictures)
    assert codes(report)["undeclared_synthetic"] == [name]
    assert report.exit_status == 1
    assert report.synthetic == 1
    assert report.labels["dynasty"] == {"song": 3}
    declared = [record(n, synthetic=n == name) for n in pictures]
    report = check_of(tmp_path, pictures, declared)
    assert "undeclared_synthetic" not in codes(report)
    assert report.exit_status == 0


def test_a_watermark_alone_makes_a_picture_synthetic(tmp_path):
    watermarked = Image.fromarray(embed_watermark(np.asarray(vessel(9))))
    pictures = {f"{i}.jpg": jpeg_of(vessel(i)) for i in range(3)}
    pictures["m.jpg"] = jpeg_of(watermarked, quality=75)
    report = check_of(tmp_path, pictures)
    assert codes(report)["undeclared_synthetic"] == ["m.jpg"]
    assert report.exit_status == 1
    assert report.labels["dynasty"] == {"song": 3}


def test_synthetic_pictures_in_test_are_an_error(tmp_path):
    pictures = {"train/a.jpg": jpeg_of(vessel(0)), "test/b.png": marked_png(vessel(1))}
    report = check_of(tmp_path, pictures, [record(n, synthetic="b" in n) for n in pictures])
    assert codes(report)["synthetic_in_evaluation"] == ["test/b.png (test)"]
    assert report.exit_status == 1


def test_rare_classes_blank_labels_and_odd_pictures(tmp_path):
    pictures = {f"{i}.jpg": jpeg_of(vessel(i)) for i in range(6)}
    pictures["tiny.png"] = encoded(vessel(7).resize((40, 30)), "PNG")
    pictures["white.png"] = encoded(Image.new("RGB", (99, 99), "white"), "PNG")
    pictures["extra/unlisted.jpg"] = jpeg_of(vessel(8))
    records = [record(f"{i}.jpg", labels_of("song", "white", None, "bowl")) for i in range(5)]
    records += [record("5.jpg", labels_of("tang", None, None, "dish"))]
    records += [record(n, labels_of(None, None, None, None)) for n in ("tiny.png", "white.png")]
    report = check_of(tmp_path, pictures, records)
    found = codes(report)
    assert found["tiny_picture"] == ["tiny.png (40x30)"]
    assert found["blank_picture"] == ["white.png"]
    assert found["unlisted_file"] == ["extra/unlisted.jpg"]
    assert found["unlabelled"] == ["tiny.png", "white.png"]
    assert report.blank == {"dynasty": 2, "glaze": 3, "kiln": 8, "type": 2}
    rare = [f.message for f in report.findings if f.code == "rare_class"]
    assert any("dynasty" in message and "tang (1)" in message for message in rare)
    assert report.exit_status == 0


def test_bad_rows_are_all_told(tmp_path):
    pictures = {f"{i}.jpg": jpeg_of(vessel(i)) for i in range(4)}
    write_folder(tmp_path, [record("0.jpg")], pictures)
    with (tmp_path / "metadata.csv").open("a", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["1.jpg", "Song Dynasty", "celadon", "yue", "bowl"])
        rows.writerow(["2.jpg", "song", "Celadon", "yue", "bowl"])
        rows.writerow(["../3.jpg", "song", "celadon", "yue", "bowl"])
        rows.writerow(["0.jpg", "song", "celadon", "yue", "bowl"])
        rows.writerow(["3.jpg", "song", "celadon", "yue", "bowl", "surplus"])
    report = check_dataset(tmp_path)
    bad = [file for f in report.findings if f.code == "bad_row" for file in f.files]
    assert bad == ["1.jpg (Song Dynasty)", "2.jpg (Celadon)", "../3.jpg", "0.jpg", "3.jpg"]
    assert report.pictures == 3
    assert report.blank["dynasty"] == 1
    assert report.exit_status == 1


def test_a_split_of_another_dataset_is_an_error(tmp_path):
    dataset = collection(tmp_path / "a", 8)
    split = make_split(dataset, groups=())
    collection(tmp_path / "b", 9)
    write_split(tmp_path / "b" / SPLIT_FILE, split)
    assert codes(check_dataset(tmp_path / "b"))["bad_split"] == ["images/008.jpg"]
    (tmp_path / "b" / SPLIT_FILE).write_text("{}")
    assert check_dataset(tmp_path / "b").exit_status == 1
    with pytest.raises(DatasetError):
        check_dataset(tmp_path / "b", tmp_path / "b" / SPLIT_FILE)


def test_what_is_no_dataset_folder_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="not a folder"):
        check_dataset(tmp_path / "none")
    with pytest.raises(DatasetError, match=r"no metadata\.csv"):
        check_dataset(tmp_path)
    for text in ("", "name,label\na,b\n", "file_name\na.jpg\n", "file_name,type\n"):
        (tmp_path / "metadata.csv").write_text(text)
        with pytest.raises(DatasetError):
            check_dataset(tmp_path)
    (tmp_path / "metadata.csv").write_bytes(b"file_name,type\n\xff\xfe,bowl\n")
    with pytest.raises(DatasetError, match="UTF-8"):
        check_dataset(tmp_path)


def test_progress_counts_every_picture(tmp_path):
    collection(tmp_path, 7)
    seen: list[tuple[int, int]] = []
    check_dataset(tmp_path, workers=2, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 7) for i in range(1, 8)]


def test_report_is_plain_json(tmp_path):
    collection(tmp_path, 3)
    content = json.loads(check_dataset(tmp_path).model_dump_json())
    assert content["pictures"] == 3
    assert {f["severity"] for f in content["findings"]} == {"warning"}
