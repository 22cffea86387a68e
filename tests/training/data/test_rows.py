"""What people do to `metadata.csv`: told by `data check`, mended by `--fix`, refused by `train`."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest

from porcelain.bundle import SPLIT_FILE
from porcelain.dataset import load_dataset
from porcelain.errors import DatasetError, UserError
from tests.training.data.folders import jpeg_of, labels_of, record, vessel, write_folder
from training.data.check import check_dataset, refuse_misleading
from training.data.corrections import write_corrected
from training.data.findings import Finding
from training.data.split import make_split, write_split

HEADER = "file_name,dynasty,glaze,kiln,type"
ROWS = [
    "images/0.jpg,tang,celadon,yue,bowl",
    "images/1.jpg,tang,white,xing,jar",
    "images/2.jpg,song,celadon,longquan,bowl",
    "images/3.jpg,song,blue_and_white,,dish",
]
GOOD = "\n".join([HEADER, *ROWS, ""])


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    return {f"images/{i}.jpg": jpeg_of(vessel(i)) for i in range(4)}


def folder(root: Path, pictures: dict[str, bytes], text: str, encoding: str = "utf-8") -> Path:
    write_folder(root, [record("a")], pictures)
    (root / "metadata.csv").write_bytes(text.encode(encoding))
    return root


def found(root: Path) -> dict[str, Finding]:
    return {finding.code: finding for finding in check_dataset(root).findings}


@pytest.mark.parametrize(
    ("code", "text", "said"),
    [
        ("near_header", GOOD.replace(HEADER, "File Name,Dynasty,glaze,kiln,Ｔｙｐｅ"), "'Dynasty'"),
        ("duplicate_column", GOOD.replace(HEADER, "file_name,dynasty,glaze,kiln,glaze"), "'glaze'"),
        ("blank_like_label", GOOD.replace(",yue,", ",N/A,"), r"kiln 'N/A' \(line 2\)"),
        ("blank_like_label", GOOD.replace(",xing,", ",unknown,"), "kiln 'unknown'"),
        ("label_spelling", GOOD.replace("blue_and_white", "blue-and-white"), "mean blue_and_white"),
        ("stray_quote", GOOD.replace("white,xing,jar", 'white,xing,"jar'), "line 3"),
        ("stray_quote", GOOD.replace("tang,white,", 'tang,"white,'), "line 3"),
    ],
)
def test_what_would_mislead_is_told_and_refused(tmp_path, pictures, code, text, said):
    root = folder(tmp_path / "a", pictures, text)
    report = check_dataset(root)
    finding = next(f for f in report.findings if f.code == code)
    assert finding.severity == "error"
    assert report.exit_status == 1
    assert re.search(said, finding.message), finding.message
    with pytest.raises(DatasetError, match=r"would mislead: .*porcelain data check") as caught:
        refuse_misleading(root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GOOD, "utf-8"),
        (GOOD.replace("\n", "\r\n").replace(",", ";"), "utf-8-sig"),
        (GOOD.replace(",", "\t"), "utf-16"),
        (
            GOOD.replace("tang", "唐").replace("celadon", "青釉").replace("longquan", "龙泉窑"),
            "gb18030",
        ),
        (GOOD.replace("images/", "images\\"), "utf-8"),
        (GOOD.replace("images/", "./images//") + ROWS[0] + "\n", "utf-8"),
        (GOOD + ",,,,\n\n,,,,,,\n", "utf-8"),
        (GOOD.replace("celadon", "Ｃｅｌａｄｏｎ ").replace("song", "Song Dynasty"), "utf-8"),
        (GOOD.replace(HEADER, "File Name,DYNASTY,Glaze, kiln ,Type"), "utf-8"),
        (GOOD.replace("xing,jar", 'xing,"jar'), "utf-8"),
        (GOOD.replace("xing,jar", 'xing,"jar').replace("longquan,bowl", 'longquan,bowl"'), "utf-8"),
        (GOOD.replace(",,dish", ",nan,dish"), "utf-8"),
        (GOOD + "images/._0.jpg,tang,celadon,yue,bowl\n", "utf-8"),
        (GOOD.replace("blue_and_white", "blue-and-white"), "utf-8"),
        (GOOD.replace("blue_and_white", "青花"), "utf-8"),
    ],
)
def test_the_corrected_copy_is_what_was_meant(tmp_path, pictures, text, encoding):
    root = folder(tmp_path / "a", pictures, text, encoding)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    changes = write_corrected(root, tmp_path / "b")
    assert (tmp_path / "b" / "metadata.csv").read_text(encoding="utf-8") == GOOD
    assert bool(changes) == (text != GOOD and not text.startswith(GOOD + ",,,,"))
    with (tmp_path / "b" / "corrections.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(changes)
    assert load_dataset(tmp_path / "b").counts("dynasty") == {"tang": 2, "song": 2}
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_a_correction_never_replaces_or_enters_the_original(tmp_path, pictures):
    root = folder(tmp_path / "a", pictures, GOOD)
    for out in (root, root / "corrected", tmp_path):
        with pytest.raises(UserError, match=r"replace|lies in"):
            write_corrected(root, out, overwrite=True)
    write_corrected(root, tmp_path / "b")
    with pytest.raises(UserError, match="--overwrite"):
        write_corrected(root, tmp_path / "b")


def test_litter_is_told_and_left_out(tmp_path, pictures):
    litter = ["images/._0.jpg", "__MACOSX/images/._1.jpg", "images/@eaDir/0.jpg/x.jpg", "Thumbs.db"]
    root = folder(tmp_path / "a", pictures | dict.fromkeys(litter, b"\0" * 99), GOOD)
    finding = found(root)["litter"]
    assert sorted(finding.files) == sorted(litter)
    assert "unlisted_file" not in found(root)
    assert check_dataset(root).exit_status == 0
    changes = write_corrected(root, tmp_path / "b")
    assert sorted(change.before for change in changes) == sorted(litter)
    assert not list((tmp_path / "b").rglob("._*"))


def test_object_ids_that_differ_in_spelling_are_one(tmp_path, pictures):
    ids = ["NPM 001", "npm-001", "NPM 001", "NPM-002"]
    text = "\n".join([HEADER + ",object_id", *map(",".join, zip(ROWS, ids, strict=True)), ""])
    root = folder(tmp_path / "a", pictures, text)
    assert "'npm-001', did you mean NPM 001? (line 3)" in found(root)["object_spelling"].message
    assert (
        check_dataset(root).exit_status == 1
    )  # photographs of one object are labelled differently
    write_corrected(root, tmp_path / "b")
    records = load_dataset(tmp_path / "b").records
    assert [r.object_id for r in records] == ["NPM 001", "NPM 001", "NPM 001", "NPM-002"]


def test_rare_labels_that_are_nearly_another_are_warned_of(tmp_path, pictures):
    root = folder(tmp_path / "a", pictures, GOOD.replace("longquan", "longqaun"))
    assert "did you mean longquan?" in found(root)["label_typo"].message
    assert check_dataset(root).exit_status == 0
    refuse_misleading(root)


def test_a_label_that_the_collection_names_itself_is_no_blank(tmp_path, pictures):
    root = folder(tmp_path / "a", pictures, GOOD.replace(",yue,", ",unknown,"))
    (root / "taxonomy.yaml").write_text("kiln:\n  unknown: {en: Kiln not known}\n")
    assert "blank_like_label" not in found(root)


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16"])
def test_what_training_cannot_read_is_told_with_what_it_is(tmp_path, pictures, encoding):
    root = folder(tmp_path / "a", pictures, GOOD.replace("tang", "唐"), encoding)
    for check in (check_dataset, refuse_misleading):
        with pytest.raises(DatasetError, match=rf"UTF-8 \(it reads as {encoding}\).*--fix OUT"):
            check(root)


def test_leaks_are_refused_by_training(tmp_path):
    same = jpeg_of(vessel(9))
    pictures = {f"{i}.jpg": jpeg_of(vessel(i)) for i in range(6)} | {"x.jpg": same}
    records = [record(name, labels_of("song", None, None, "bowl")) for name in pictures]
    root = write_folder(tmp_path / "a", [*records, record("y.jpg")], pictures | {"y.jpg": same})
    refuse_misleading(root)
    split = make_split(load_dataset(root), groups=())
    split.names.update(
        train=(*(f"{i}.jpg" for i in range(6)), "x.jpg"), validation=(), test=("y.jpg",)
    )
    write_split(root / SPLIT_FILE, split)
    with pytest.raises(DatasetError, match="copies in several parts"):
        refuse_misleading(root)


def test_commands_end_with_the_status_that_the_help_promises(tmp_path, pictures):
    root = folder(tmp_path / "a", pictures, GOOD.replace(",yue,", ",nan,"))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "porcelain", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    checked = run("data", "check", str(root))
    assert checked.returncode == 1
    assert "'nan'" in checked.stdout
    fixed = run("data", "check", str(root), "--fix", str(tmp_path / "b"))
    assert fixed.returncode == 0, fixed.stderr
    assert "1 change(s)" in fixed.stderr
    out = ["--out", str(tmp_path / "bundle")]
    trained = run("classifier", "train", "--data", str(root), "--pretrained", "none", *out)
    assert trained.returncode == 2
    assert "Traceback" not in trained.stderr
    assert f"porcelain data check {root}" in trained.stderr


def test_a_split_that_leaves_a_part_empty_is_refused_and_a_small_one_warned_of(tmp_path):
    contents = {f"{i}.jpg": jpeg_of(vessel(i)) for i in range(8)}

    def split_of(root: Path, objects: int) -> subprocess.CompletedProcess[str]:
        rows = [record(n, object_id=str(i % objects)) for i, n in enumerate(contents)]
        write_folder(root, rows, contents)
        command = [sys.executable, "-m", "porcelain", "data", "split", str(root)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    empty = split_of(tmp_path / "one", 1)
    assert empty.returncode == 2
    assert "validation part is empty" in empty.stderr
    assert not (tmp_path / "one" / SPLIT_FILE).exists()
    small = split_of(tmp_path / "many", 8)
    assert small.returncode == 0
    assert "too few to measure anything" in small.stderr
    assert found(tmp_path / "many")["small_part"].severity == "warning"
