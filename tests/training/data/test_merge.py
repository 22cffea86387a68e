"""Reviewed corrections reach the labels, and who changed what stays to be read."""

from __future__ import annotations

import csv
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from porcelain.dataset import Record, load_dataset, write_metadata
from porcelain.errors import UserError
from training.data.merge import LOG_FILE, merge_corrections

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
HEADER = "file_name,task,old_label,new_label,who,when,why"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    rows = []
    for number in range(3):
        name = f"images/{number}.jpg"
        (root / name).write_bytes(b"picture %d" % number)
        labels = {"dynasty": "ming", "glaze": "celadon", "kiln": None, "type": "bowl"}
        rows.append(Record(name, labels, extra={"note": f"shelf {number}"}))
    write_metadata(root, rows)
    (root / "split.json").write_text("{}")
    return root


def table(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "corrections-to-merge.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def log(root: Path) -> list[dict[str, str]]:
    with (root / LOG_FILE).open() as file:
        return list(csv.DictReader(file))


def test_labels_change_and_it_stays_known_who_changed_them(data: Path, tmp_path: Path) -> None:
    corrections = table(
        tmp_path,
        "images/0.jpg,dynasty,ming,qing,Chen,2026-11-01,mark of Kangxi",
        "images/0.jpg,kiln,,jingdezhen,Chen,,",
        "images/1.jpg,type,bowl,-,,,cannot be told",
        "images/2.jpg,type,bowl,bowl,Li,,",
        "images/2.jpg,glaze,celadon,,,,",
    )
    before = (data / "metadata.csv").read_bytes()
    out = tmp_path / "out"
    report = merge_corrections(data, [corrections], out, who="Wang", now=NOW)
    assert report.changed == {"dynasty": 1, "kiln": 1, "type": 1}
    assert (report.pictures, report.confirmed, report.undecided) == (2, 1, 1)
    first, second, third = load_dataset(out).records
    assert first.labels == {
        "dynasty": "qing", "glaze": "celadon", "kiln": "jingdezhen", "type": "bowl",
    }  # fmt: skip
    assert first.extra["corrected_by"] == "Chen"
    assert first.extra["corrected_from"] == "dynasty:ming;kiln:-"
    assert second.labels["type"] is None
    assert second.extra["corrected_at"] == "2026-11-30T12:00:00+00:00"
    assert third.labels["type"] == "bowl"
    assert third.extra["corrected_by"] == ""
    assert [one.extra["note"] for one in (first, second, third)] == [f"shelf {i}" for i in range(3)]
    assert [(row["old_label"], row["new_label"], row["who"]) for row in log(out)] == [
        ("ming", "qing", "Chen"), ("", "jingdezhen", "Chen"), ("bowl", "", "Wang"),
        ("bowl", "bowl", "Li"),
    ]  # fmt: skip
    assert log(out)[0]["why"] == "mark of Kangxi"
    assert (out / "images/1.jpg").read_bytes() == b"picture 1"
    assert (out / "split.json").is_file()
    assert (data / "metadata.csv").read_bytes() == before
    assert not (data / LOG_FILE).exists()


def test_the_log_grows_and_the_folder_itself_only_when_asked(data: Path, tmp_path: Path) -> None:
    first = table(tmp_path, "images/0.jpg,dynasty,ming,qing,Chen,,")
    with pytest.raises(UserError, match="is the dataset itself"):
        merge_corrections(data, [first], data)
    merge_corrections(data, [first], data, overwrite=True, now=NOW)
    with pytest.raises(UserError, match=r"dynasty of images/0\.jpg is qing, not ming"):
        merge_corrections(data, [first], data, overwrite=True)
    again = table(tmp_path, "images/0.jpg,dynasty,qing,yuan,Li,,")
    merge_corrections(data, [again], data, overwrite=True, now=NOW)
    record = load_dataset(data).records[0]
    assert record.labels["dynasty"] == "yuan"
    assert record.extra["corrected_from"] == "dynasty:ming;dynasty:qing"
    assert [row["who"] for row in log(data)] == ["Chen", "Li"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("images/9.jpg,dynasty,ming,qing,Chen,,", "line 3: the dataset has no picture"),
        ("images/1.jpg,dinasty,ming,qing,Chen,,", "line 3: there is no task 'dinasty'"),
        ("images/1.jpg,dynasty,song,qing,Chen,,", "dynasty of images/1.jpg is ming, not song"),
        ("images/1.jpg,dynasty,ming,Qing!,Chen,,", "line 3: new_label 'Qing!' is not a lower-case"),
        ("images/1.jpg,dynasty,ming,qing,,,", "line 3: nobody is named in the column who"),
        ("images/1.jpg,dynasty,ming,qing,Chen,,a,b", "line 3 has more fields"),
    ],
)
def test_a_wrong_row_stops_the_whole_merge(data: Path, tmp_path: Path, row: str, says: str) -> None:
    corrections = table(tmp_path, "images/0.jpg,dynasty,ming,qing,Chen,,", row)
    with pytest.raises(UserError, match=says):
        merge_corrections(data, [corrections], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert load_dataset(data).records[0].labels["dynasty"] == "ming"


def test_mistakes_are_one_line(data: Path, tmp_path: Path) -> None:
    undecided = table(tmp_path, "images/0.jpg,dynasty,ming,,,,")
    done = subprocess.run(
        [sys.executable, "-m", "porcelain", "data", "merge", str(data), "--corrections",
         str(undecided), "--out", str(tmp_path / "out")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no row has a new_label" in done.stderr
    assert "Traceback" not in done.stderr
    with pytest.raises(UserError, match="has no column new_label"):
        merge_corrections(
            data, [table(tmp_path, header="file_name,task,old_label")], tmp_path / "o"
        )
    with pytest.raises(UserError, match="There is no"):
        merge_corrections(data, [tmp_path / "none.csv"], tmp_path / "o")
