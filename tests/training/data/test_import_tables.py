"""What people from a museum have, and what `porcelain data import` makes of it."""

from __future__ import annotations

import csv
import datetime
import json
import subprocess
import sys
import unicodedata
import zipfile
from pathlib import Path

import openpyxl
import pytest
import yaml

from porcelain.dataset import Record, load_dataset
from porcelain.errors import UserError
from porcelain.vocabulary import TASKS, default_taxonomy
from tests.training.data.folders import jpeg_of, vessel
from training.data.check import check_dataset
from training.data.import_report import TableReport
from training.data.imports import import_table
from training.data.labels import LabelNames
from training.data.mapping import Mapping, count_known, load_mapping
from training.data.sources import folders_table, huggingface_table, label_studio_table, unpacked
from training.data.tables import TableOptions, find_encoding, find_separator, read_table

CASES = Path(__file__).parents[4] / "shared/cases/tables"
NAMES = LabelNames(default_taxonomy())
PICTURE = jpeg_of(vessel(1), 60)


def pictures(folder: Path, *names: str) -> Path:
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg_of(vessel(i), 60))
    return folder


def brought_in(
    root: Path, table: Path | bytes, *names: str, given: Mapping | None = None
) -> tuple[TableReport, dict[str, Record]]:
    path = table if isinstance(table, Path) else root / "list.csv"
    if isinstance(table, bytes):
        path.write_bytes(table)
    images = pictures(root / "photos", *names)
    report = import_table(
        read_table(path, count_known),
        images,
        root / "out",
        taxonomy=default_taxonomy(),
        given=given or Mapping(),
        overwrite=True,
    )
    return report, {
        r.file_name.removeprefix("images/"): r for r in load_dataset(root / "out").records
    }


@pytest.mark.parametrize(
    ("task", "text", "label"),
    [
        ("dynasty", "Qing dynasty, Kangxi reign (1662–1722)", "qing"),
        ("dynasty", "明宣德", "ming"),
        ("dynasty", "晋", "jin_266_420"),
        ("dynasty", "Jin (1115–1234)", "jin_1115_1234"),
        ("dynasty", "SONG", "song"),
        ("dynasty", "18th century", "qing"),
        ("dynasty", "Ming or Qing", None),
        ("dynasty", "probably Ming", None),
        ("glaze", "Bowl, polychrome", "polychrome"),
        ("type", "Bowl, polychrome", "bowl"),
        ("glaze", "Blue-and-white", "blue_and_white"),
        ("glaze", "Ｃｅｌａｄｏｎ ", "celadon"),
        ("glaze", "釉里红", "underglaze_red"),
        ("glaze", "白釉", "white"),
        ("kiln", "龍泉窯", "longquan"),
        ("kiln", "龙泉", "longquan"),
        ("kiln", "景德镇窑", "jingdezhen"),
        ("kiln", "疑为邢窑", None),
        ("kiln", "Jun (?)", None),
        ("kiln", "n/a", None),
        ("type", "盘", "dish"),
        ("type", "see file", None),
    ],
)
def test_names_and_words_of_labels_are_read(task, text, label):
    assert NAMES.read(task, text).label == label


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gb18030", "big5"]
)
def test_encodings_of_chinese_tables_are_found(encoding):
    for term in (t for task in TASKS for t in getattr(default_taxonomy(), task).values()):
        text = f"檔名,朝代,{term.zh}\na.jpg,明宣德,青花\n"
        try:
            data = text.encode(encoding)
        except UnicodeEncodeError:
            continue
        assert data.decode(find_encoding(data)).removeprefix("\ufeff") == text, term


@pytest.mark.parametrize(
    "text", ["Südliche Song;grün\n", "porcelaine émaillée\n", "Ming (1368–1644)\n"]
)
def test_western_tables_are_in_windows_1252(text):
    assert find_encoding(text.encode("cp1252")) == "cp1252"


def test_separators_are_found_beside_commas_in_cells():
    assert find_separator("a;b\n1,5;2,5\n3,5;4\n") == ";"
    assert find_separator("a\tb\nx, y\tz\n") == "\t"
    assert find_separator('a,b\n"x;y",z\n') == ","


def catalogue(path: Path) -> Path:
    """A workbook as a registrar keeps it: a title, merged cells, dates, numbers, two sheets."""
    book = openpyxl.Workbook()
    book.active.append(["说明：由陶瓷部编制"])
    sheet = book.create_sheet("藏品")
    sheet.append(["陶瓷藏品登记表"])
    sheet.merge_cells("A1:F1")
    sheet.append([])
    sheet.append(["总登记号", "文件名", "名称", "年代", "窑口", "入藏日期"])
    day = datetime.datetime(1955, 3, 2)
    sheet.append([1234.0, "a.jpg", "青花缠枝莲纹盘", "明宣德", "景德镇窑", day])
    sheet.append([None, "b.jpg", None, None, None, None])
    for column in "ACDEF":
        sheet.merge_cells(f"{column}4:{column}5")
    sheet.append([7, "c.jpg", "龙泉窑青釉碗", "唐或五代", "不详", None])
    sheet["A6"].number_format = "00000"
    book.save(path)
    return path


def test_a_registrars_workbook(tmp_path):
    path = catalogue(tmp_path / "catalogue.xlsx")
    report, rows = brought_in(tmp_path, path, "a.jpg", "b.jpg", "c.jpg")
    assert report.facts["Sheet"].startswith("藏品")
    assert report.facts["Header"] == "row 3"
    assert rows["a.jpg"].labels == rows["b.jpg"].labels
    assert rows["a.jpg"].labels == {
        "dynasty": "ming", "glaze": "blue_and_white", "kiln": "jingdezhen", "type": "dish",
    }  # fmt: skip
    assert [rows[n].object_id for n in ("a.jpg", "b.jpg", "c.jpg")] == ["1234", "1234", "00007"]
    assert rows["a.jpg"].extra["入藏日期"] == "1955-03-02"
    assert rows["c.jpg"].labels == dict(zip(TASKS, (None, "celadon", None, "bowl"), strict=True))
    doubtful = report.tasks["dynasty"].values[0]
    assert (doubtful.text, doubtful.label, doubtful.why) == ("唐或五代", None, "several")
    page = (tmp_path / "out" / "import.html").read_text(encoding="utf-8")
    assert page.index("唐或五代</td>") < page.index("明宣德</td>")
    assert 'src="http' not in page


def test_another_sheet_can_be_asked_for(tmp_path):
    path = catalogue(tmp_path / "catalogue.xlsx")
    with pytest.raises(UserError, match="no sheet 'x'; it has 'Sheet', '藏品'"):
        read_table(path, count_known, TableOptions(sheet="x"))
    assert read_table(path, count_known, TableOptions(sheet="Sheet")).columns[0].startswith("说明")


def test_mapping_is_edited_and_run_again(tmp_path):
    text = b"Photo,Epoque,Genre\na.jpg,Tang?,bowl\nb.jpg,Ming,Teller\n"
    given = Mapping({"Epoque": "dynasty", "Genre": "type"})
    _, rows = brought_in(tmp_path, text, "a.jpg", "b.jpg", given=given)
    assert (rows["a.jpg"].labels["dynasty"], rows["b.jpg"].labels["type"]) == (None, None)
    file = tmp_path / "out" / "mapping.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert content["columns"] == {"Photo": "file_name", "Epoque": "dynasty", "Genre": "type"}
    assert content["values"]["dynasty"] == {"Tang?": None, "Ming": "ming"}
    content["values"]["dynasty"]["Tang?"] = "tang"
    content["values"]["type"] = {"Teller": "dish"}
    edited = tmp_path / "edited.yaml"
    edited.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    report, rows = brought_in(tmp_path, text, given=load_mapping(edited))
    assert (rows["a.jpg"].labels["dynasty"], rows["b.jpg"].labels["type"]) == ("tang", "dish")
    assert {v.why for v in report.tasks["type"].values} == {"given", "mapped"}
    edited.write_text("values: {dynasty: {a: Not A Slug}}")
    with pytest.raises(UserError, match="'Not A Slug', which is not a lower-case slug"):
        load_mapping(edited)


def test_pictures_are_found_by_what_people_write_of_them(tmp_path):
    nfd = unicodedata.normalize("NFD", "vasé.jpg")
    text = (
        "File;Acc. No.;Type\nA.JPG;;bowl\nvasé.jpg;;vase\nC:\\Photos\\b.jpg;;jar\nd;;dish\n"
        ";1957/32 a;cup\n;1957/32;ewer\ne.jpg, f.jpg;;box\nnone.jpg;;bowl\ng;;bowl\n"
    )
    report, rows = brought_in(
        tmp_path, text.encode("cp1252"), "a.jpg", nfd, "b.jpg", "d.png", "1957_32_A.jpg",
        "1957-32 (1).jpg", "1957-32_2.jpg", "e.jpg", "f.jpg", "x/g.jpg", "y/g.jpg", "IMG_1.jpg",
    )  # fmt: skip
    assert {name: row.labels["type"] for name, row in rows.items()} == {
        "a.jpg": "bowl", "vasé.jpg": "vase", "b.jpg": "jar", "d.png": "dish",
        "1957_32_A.jpg": "cup", "1957-32 (1).jpg": "ewer", "1957-32_2.jpg": "ewer",
        "e.jpg": "box", "f.jpg": "box",
    }  # fmt: skip
    assert rows["1957-32_2.jpg"].object_id == rows["1957-32 (1).jpg"].object_id == "1957/32"
    left = {item.what: item.why for item in report.rows_left_out}
    assert "there is no picture 'none.jpg'" in left["row 9 (none.jpg)"]
    assert "may be any of 2 pictures" in left["row 10 (g)"]
    assert [item.what for item in report.pictures_left_out] == ["IMG_1.jpg", "x/g.jpg", "y/g.jpg"]


def test_nothing_is_dropped_unnamed(tmp_path):
    text = b"file,type,notes\na.jpg,bowl,1\na.jpg,dish,2\n,vase,3\nb.jpg,jar,4\n"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "b.jpg").write_bytes(b"not a picture")
    (tmp_path / "photos" / "._a.jpg").write_bytes(b"x")
    report, rows = brought_in(tmp_path, text, "a.jpg", "c.jpg")
    assert rows["a.jpg"].labels["type"] is None  # two rows say two things
    assert "differ in type" in report.notes[0]
    assert len(report.rows_left_out) == 2
    assert {i.what for i in report.pictures_left_out} == {"b.jpg", "._a.jpg", "c.jpg"}
    assert check_dataset(tmp_path / "out").exit_status == 0


def test_columns_of_the_owner_go_along_and_never_look_like_ours(tmp_path):
    text = b"File Name,Dynasty,Object_ID,Location,,Type\na.jpg,Ming dynasty,x 1,Depot 3,5,bowl\n"
    _, rows = brought_in(tmp_path, text, "a.jpg")
    assert rows["a.jpg"].extra == {
        "catalogue_dynasty": "Ming dynasty", "Location": "Depot 3", "column 5": "5",
    }  # fmt: skip
    assert rows["a.jpg"].object_id == "x 1"
    assert "near_header" not in {f.code for f in check_dataset(tmp_path / "out").findings}


def test_labels_that_are_slugs_already_are_kept(tmp_path):
    _, rows = brought_in(
        tmp_path, b"file_name,type\na.jpg,teapot_stand\nb.jpg,bowl\n", "a.jpg", "b.jpg"
    )
    assert [r.labels["type"] for r in rows.values()] == ["teapot_stand", "bowl"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"a,b\n1,2\n", "No column of .* says which picture"),
        (b"file,owner\na.jpg,me\n", "No column of .* says anything of"),
        (b"file,type\nzz.jpg,bowl\n", "No row of .* has a picture in .*holds 1 picture"),
        (b"", "holds no table"),
        (b'file,type\na.jpg,"bowl\nb.jpg,jar\n', "line 2: a quote opens"),
    ],
)
def test_what_cannot_be_brought_in_is_told_in_one_line(tmp_path, text, said):
    with pytest.raises(UserError, match=said) as caught:
        brought_in(tmp_path, text, "a.jpg")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_folders_are_read_by_level(tmp_path):
    tree = pictures(
        tmp_path / "t", "train/明/碗/1.jpg", "train/Qing/Vase/2.jpg", "val/Song/Bowl/3.jpg"
    )
    table = folders_table(tree, None, NAMES)
    assert table.facts["Levels of folders"] == "1: split, 2: dynasty, 3: type"
    assert table.rows[-1].cells == {
        "file_name": "val/Song/Bowl/3.jpg", "split": "validation",
        "dynasty": "Song", "type": "Bowl",
    }  # fmt: skip
    with pytest.raises(UserError, match="'colour' is none"):
        folders_table(tree, ["colour"], NAMES)
    odd = pictures(tmp_path / "o", "shelf 1/1.jpg", "shelf 2/2.jpg")
    with pytest.raises(UserError, match=r"'shelf 1', 'shelf 2' …\); say what each level means"):
        folders_table(odd, None, NAMES)


def test_label_studio_exports(tmp_path):
    def result(name: str, *choices: str) -> dict[str, object]:
        return {"from_name": name, "type": "choices", "value": {"choices": list(choices)}}

    tasks = [
        {"id": 5, "data": {"image": "/data/upload/1/7c90e3df-a.jpg", "room": "3"}, "annotations": [
            {"was_cancelled": True, "result": [result("type", "vase")]},
            {"result": [result("type", "bowl"), result("朝代", "明")]}]},
        {"id": 6, "data": {"image": "/data/local-files/?d=x/b.jpg"}, "annotations": [
            {"result": [result("type", "bowl")]}, {"result": [result("type", "dish")]}]},
        {"id": 7, "data": {"image": "s3://bucket/c.jpg"}, "annotations": []},
    ]  # fmt: skip
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")
    table = label_studio_table(path)
    assert [row.cells["file_name"] for row in table.rows] == ["a.jpg", "x/b.jpg", "c.jpg"]
    assert table.rows[0].cells["朝代"] == "明"
    assert [row.cells["type"] for row in table.rows] == ["bowl", "bowl; dish", ""]
    path.write_text(
        json.dumps([{"id": 1, "image": "/data/upload/1/7c90e3df-a.jpg", "type": "bowl"}])
    )
    assert label_studio_table(path).rows[0].cells["type"] == "bowl"
    path.write_text('[{"id": 1,\n}')
    with pytest.raises(UserError, match="line 2 is not JSON"):
        label_studio_table(path)


def test_imagefolders_of_hugging_face(tmp_path):
    root = pictures(tmp_path / "hf", "train/a.jpg", "test/b.jpg")
    for part, name in (("train", "a"), ("test", "b")):
        row = {"file_name": f"{name}.jpg", "type": "bowl", "note": "one\u2028two"}
        (root / part / "metadata.jsonl").write_text(
            json.dumps(row, ensure_ascii=False) + "\n\n", encoding="utf-8"
        )
    table = huggingface_table(root, NAMES)
    assert [(r.cells["file_name"], r.cells["split"]) for r in table.rows] == [
        ("test/b.jpg", "test"), ("train/a.jpg", "train"),
    ]  # fmt: skip
    report = import_table(
        table, root, tmp_path / "out", taxonomy=default_taxonomy(), given=Mapping()
    )
    assert report.pictures_left_out == []
    (root / "train" / "metadata.jsonl").write_text("{}\n{\n")
    with pytest.raises(UserError, match=r"train/metadata\.jsonl line 2 is not JSON"):
        huggingface_table(root, NAMES)


def test_zips_are_unpacked_and_never_outside(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("all/青花.jpg", PICTURE)
        archive.writestr("__MACOSX/all/._青花.jpg", b"x")
    with unpacked(path, tmp_path / "out") as folder:
        assert [p.name for p in folder.iterdir()] == ["青花.jpg"]
    assert sorted(tmp_path.iterdir()) == [path]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../evil.jpg", PICTURE)
    with pytest.raises(UserError, match="leads out of it"), unpacked(path, tmp_path / "out"):
        pass
    path.write_bytes(path.read_bytes()[:20] + b"\0" * 40 + path.read_bytes()[60:])
    assert not (tmp_path.parent / "evil.jpg").exists()


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "porcelain", "data", "import", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_writes_a_folder_says_what_it_made_and_never_replaces(tmp_path):
    images = pictures(tmp_path / "photos", "a.jpg", "b.jpg")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(catalogue(tmp_path / "c.xlsx"), "museum/c.xlsx")
        for path in images.iterdir():
            archive.write(path, f"museum/photos/{path.name}")
    out = tmp_path / "out"
    done = run("table", tmp_path / "all.zip", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["pictures"] == 2
    assert f"Next: porcelain data check {out}" in done.stderr
    assert "all.zip" in (out / "mapping.yaml").read_text(encoding="utf-8")
    again = run("table", tmp_path / "all.zip", "--out", out)
    assert again.returncode == 2
    assert "--overwrite" in again.stderr
    for arguments in (("table", "none.csv"), ("folders", images), ("nomuseum",)):
        failed = run(*arguments, "--out", tmp_path / "other")
        assert failed.returncode == 2
        assert "Traceback" not in failed.stderr
    assert not list(tmp_path.glob(".*"))


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here")
@pytest.mark.parametrize(
    "name", ["backslash.csv", "case_spaces.csv", "chinese_gb18030.csv", "semicolon_bom.csv",
             "dot_slash.csv", "empty_rows.csv", "catalogue.xlsx"],
)  # fmt: skip
def test_the_cases_become_what_they_should_be(tmp_path, name):
    with (CASES / "good.csv").open() as file:
        expected = {r["file_name"]: {t: r[t] for t in TASKS} for r in csv.DictReader(file)}
    table = read_table(CASES / name, count_known)
    import_table(table, CASES, tmp_path / "o", taxonomy=default_taxonomy(), given=Mapping())
    found = {r.file_name: dict(r.labels) for r in load_dataset(tmp_path / "o").records}
    if name == "catalogue.xlsx":  # "Northern Song–Jin dynasty" is two
        expected["images/07.jpg"]["dynasty"] = None
    assert found == expected
