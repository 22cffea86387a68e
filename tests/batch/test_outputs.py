"""What people take away: spreadsheets, Label Studio's predictions, and a name for all left out."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from xml.etree import ElementTree

import openpyxl
import pyarrow.parquet as pq
import pytest

from batch import classify as job
from batch.classify import classify
from batch.outputs import EXCEL_CHARACTERS, harmless, write_xlsx
from batch.settings import ClassifySettings
from porcelain.bundle import load_bundle
from porcelain.errors import UserError
from porcelain.vocabulary import default_taxonomy
from tests.batch.conftest import run, write_pictures

SETTINGS = ClassifySettings(part_size=4, workers=1, batch_size=2)
NASTY = [
    *("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", '=HYPERLINK("http://x","y")'),
    *(
        "001",
        "-5",
        "+3,5",
        "1e5",
        "TRUE",
        "2026-11-30",
        "mailto:a@b.example",
        "'quoted",
        " padded ",
    ),
    *(
        "明宣德 青花",
        "two\nlines",
        "windows\r\nlines",
        "tab\there",
        "_x0041_",
        "a\u2028b",
        "\x0b",
        "%d",
    ),
    *(
        "明宣德 青花",
        'say "hi"',
        "a,b;c",
        "😀",
        "ﬁ",
        "\u200b",
        "internal:Sheet!A1",
        "http://x.example/a b",
    ),
]
OWNED = "file_name,Notes,dynasty,Inv. No."


def collection(folder: Path) -> tuple[Path, list[list[str]]]:
    """A dataset folder whose notes a spreadsheet would run, with one broken picture."""
    count = len(NASTY)
    write_pictures(folder, count)
    (folder / "0/000001.jpg").write_bytes(b"\xff\xd8\xff broken")
    header = OWNED.split(",")
    rows = [[f"0/{n:06}.jpg", note, "", f"00{n}"] for n, note in enumerate(NASTY)]
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    (folder / "metadata.csv").write_text(text.getvalue(), encoding="utf-8", newline="")
    return folder, [header, *rows]


def in_excel(text: str) -> str:
    """A text as openpyxl, which undoes no escapes of Excel's format, reads it back."""
    return text.replace("\r\n", "\n").replace("_x0041_", "_x005F_x0041_").replace("\x0b", "_x000B_")


def sheet(path: Path) -> list[list[object]]:
    book = openpyxl.load_workbook(path)
    assert len(book.worksheets) == 1
    cells = list(book.active.iter_rows())
    assert all(cell.data_type in "sbn" for row in cells for cell in row)  # f would be a formula
    return [[cell.value for cell in row] for row in cells]


def test_a_workbook_has_the_owners_columns_first_and_then_the_answers(tmp_path, bundle) -> None:
    folder, owned = collection(tmp_path / "photos")
    out = tmp_path / "labels.xlsx"
    summary = classify(str(folder), bundle, out, SETTINGS)
    header, *rows = sheet(out)
    assert header[:4] == owned[0]
    assert [[cell or "" for cell in row[:4]] for row in rows] == [
        [in_excel(cell) for cell in row] for row in owned[1:]
    ]
    labels = load_bundle(bundle, "classifier").classifier.labels
    ends = ["answer", "en", "zh", "probability", "sure", "second", "second_probability", "third"]
    ends.append("third_probability")
    assert header[4 : 4 + 9 * len(labels)] == [f"{task}_{end}" for task in labels for end in ends]
    classify(str(folder), bundle, tmp_path / "labels.parquet", SETTINGS)
    whole = pq.read_table(tmp_path / "labels.parquet").to_pylist()
    for row, expected in zip(rows, whole, strict=True):
        cells = dict(zip(header, row, strict=True))
        assert cells["error"] == expected["error"]
        for task in labels:
            label = expected[task]
            assert cells[f"{task}_answer"] == label
            if label is None:
                assert cells[f"{task}_probability"] is cells[f"{task}_sure"] is None
                continue
            term = default_taxonomy().term(task, label)
            assert (cells[f"{task}_en"], cells[f"{task}_zh"]) == (term.en, term.zh)
            top = expected[f"{task}_top"]
            assert cells[f"{task}_probability"] == pytest.approx(top[0]["probability"], abs=1e-4)
            assert cells[f"{task}_sure"] is not expected[f"{task}_abstained"]
            second = default_taxonomy().term(task, top[1]["label"]).en
            assert cells[f"{task}_second"] == second
    assert rows[1][header.index("error_kind")] == "corrupt"
    assert (summary.rows, summary.classified, summary.cut) == (len(NASTY), len(NASTY) - 1, 0)


def test_parquet_has_the_owners_columns_first_under_names_of_their_own(tmp_path, bundle) -> None:
    folder, owned = collection(tmp_path / "photos")
    classify(str(folder), bundle, tmp_path / "labels.parquet", SETTINGS)
    table = pq.read_table(tmp_path / "labels.parquet")
    assert table.column_names[:4] == ["file_name", "Notes", "owner_dynasty", "Inv. No."]
    assert [list(row.values())[:4] for row in table.to_pylist()] == owned[1:]
    assert set(table["dynasty"].to_pylist()) - {None} <= set(
        load_bundle(bundle, "classifier").classifier.labels["dynasty"]
    )


def test_csv_runs_nowhere_and_comes_back(tmp_path, bundle) -> None:
    folder, owned = collection(tmp_path / "photos")
    out = tmp_path / "labels.csv"
    classify(str(folder / "metadata.csv"), bundle, out, SETTINGS)
    assert out.read_bytes().startswith(b"\xef\xbb\xbf")
    header, *rows = csv.reader(io.StringIO(out.read_bytes().decode("utf-8-sig")))
    assert header[:4] == owned[0]
    for row, expected in zip(rows, owned[1:], strict=True):
        assert not any(cell.startswith(("=", "+cmd", "@", "\t", "-2")) for cell in row)
        assert [cell.removeprefix("'") for cell in row[:4]] == [
            cell.removeprefix("'") for cell in expected
        ]
    assert rows[7][1] == "-5"  # a number is no formula
    assert rows[0][header.index("dynasty_sure")] in ("true", "false")


@pytest.mark.parametrize("value", ["=1", "+a", "-a", "@a", "\t1", "\r1", "-1+1", "+1-1", "-"])
def test_what_could_be_a_formula_gets_an_apostrophe(value: str) -> None:
    assert harmless(value) == f"'{value}"


@pytest.mark.parametrize("value", ["-5", "+3.5", "-1,234.5", "-10%", "a=b", "", None, 0.5, "'=1"])
def test_what_cannot_stays(value) -> None:
    assert harmless(value) == value


def test_ten_thousand_rows_go_through_excels_format_and_come_back(tmp_path) -> None:
    notes = [NASTY[n % len(NASTY)] + str(n // 100) for n in range(10_000)]
    rows = [[f"{n:06}", note, n % 3 == 0, round(n / 7, 4)] for n, note in enumerate(notes)]
    path = tmp_path / "many.xlsx"
    with path.open("wb") as file:
        assert write_xlsx(file, ["id", "note", "sure", "probability"], rows) == 0
    book = openpyxl.load_workbook(path, read_only=True)
    back = [list(row) for row in book.active.iter_rows(min_row=2, values_only=True)]
    assert back == [[one, in_excel(note), *rest] for one, note, *rest in rows]


def test_a_cell_that_is_too_long_is_cut_and_counted(tmp_path) -> None:
    with (tmp_path / "long.xlsx").open("wb") as file:
        assert write_xlsx(file, ["note"], [["x" * 40_000], ["y" * EXCEL_CHARACTERS]]) == 1
    rows = sheet(tmp_path / "long.xlsx")
    assert rows[1] == ["x" * (EXCEL_CHARACTERS - 1) + "…"]
    assert rows[2] == ["y" * EXCEL_CHARACTERS]


def test_more_rows_than_a_sheet_holds_are_refused_before_any_work(
    tmp_path, bundle, photos, monkeypatch
) -> None:
    monkeypatch.setattr("batch.outputs.EXCEL_ROWS", 6)
    with pytest.raises(UserError, match=r"6 rows are more .* \.csv or \.parquet"):
        classify(str(photos), bundle, tmp_path / "labels.xlsx", SETTINGS)


def test_predictions_for_label_studio(tmp_path, bundle) -> None:
    folder, owned = collection(tmp_path / "photos")
    out = tmp_path / "predictions.json"
    prefix = "/data/local-files/?d=photos/"
    classify(str(folder), bundle, out, SETTINGS, image_url=prefix)
    tasks = json.loads(out.read_text())
    assert [task["data"]["image"] for task in tasks] == [prefix + row[0] for row in owned[1:]]
    assert [task["data"]["Notes"] for task in tasks] == NASTY
    assert "predictions" not in tasks[1]
    assert "corrupt" in tasks[1]["data"]["error"]
    (prediction,) = tasks[0]["predictions"]
    labels = load_bundle(bundle, "classifier").classifier.labels
    assert [one["from_name"] for one in prediction["result"]] == list(labels)
    config = ElementTree.fromstring((tmp_path / "predictions.xml").read_text())
    for one in prediction["result"]:
        (control,) = (c for c in config.iter("Choices") if c.get("name") == one["from_name"])
        assert one["to_name"] == control.get("toName") == config.find("Image").get("name")
        values = {choice.get("value") for choice in control}
        assert set(one["value"]["choices"]) <= values == set(labels[one["from_name"]])
        assert 0 <= prediction["score"] <= one["score"] <= 1


@pytest.mark.parametrize("name", ["labels.xlsx", "labels.csv", "labels.json", "labels.parquet"])
def test_a_folder_without_a_table_has_paths(tmp_path, bundle, photos, name) -> None:
    out = tmp_path / name
    classify(str(photos), bundle, out, SETTINGS)
    paths = sorted(str(path) for path in photos.rglob("*.jpg"))
    if name.endswith("xlsx"):
        assert [row[0] for row in sheet(out)] == ["path", *paths]
    elif name.endswith("csv"):
        rows = list(csv.reader(out.open(encoding="utf-8-sig", newline="")))
        assert [row[0] for row in rows] == ["path", *paths]
    elif name.endswith("json"):
        assert [task["data"]["image"] for task in json.loads(out.read_text())] == paths
    else:
        assert pq.read_table(out)["path"].to_pylist() == paths


@pytest.mark.parametrize("name", ["labels.xlsx", "labels.csv"])
def test_interrupted_while_writing_it_goes_on(tmp_path, bundle, monkeypatch, name) -> None:
    folder, _ = collection(tmp_path / "photos")
    out = tmp_path / name

    def broken(*arguments: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(job, "write_result", broken)
        with pytest.raises(KeyboardInterrupt):
            classify(str(folder), bundle, out, SETTINGS)
    assert not out.exists()
    summary = classify(str(folder), bundle, out, SETTINGS)
    assert summary.resumed == len(NASTY)
    # And killed after its result was in place, before its work was tidied.
    with monkeypatch.context() as patch:
        patch.setattr(job, "end", broken)
        with pytest.raises(KeyboardInterrupt):
            classify(str(folder), bundle, out, SETTINGS, overwrite=True)
    made = out.stat().st_mtime_ns
    again = classify(str(folder), bundle, out, SETTINGS)
    assert (again.rows, out.stat().st_mtime_ns) == (len(NASTY), made)
    assert not list(tmp_path.glob(".*"))


def test_a_table_that_changed_meanwhile_is_told(tmp_path, bundle, monkeypatch) -> None:
    folder, _ = collection(tmp_path / "photos")
    table = folder / "metadata.csv"
    write = job.write_result

    def changed(*arguments):
        table.write_text("file_name\n0/000002.jpg\n")
        return write(*arguments)

    monkeypatch.setattr(job, "write_result", changed)
    with pytest.raises(UserError, match="changed meanwhile"):
        classify(str(folder), bundle, tmp_path / "labels.xlsx", SETTINGS)


def left_out(path: Path) -> dict[str, str]:
    rows = list(csv.reader(path.open(encoding="utf-8-sig", newline="")))
    assert rows[0] == ["path", "why"]
    return dict(rows[1:])


def test_every_picture_without_a_row_is_named(tmp_path, bundle) -> None:
    folder, _ = collection(tmp_path / "photos")
    (folder / "1").mkdir()
    for name in ("0/extra.HEIC", "1/another.tif"):
        (folder / name).write_bytes(b"any")
    done = run("classify", folder, "--bundle", bundle, "--out", tmp_path / "labels.xlsx")
    named = left_out(tmp_path / "labels.left-out.csv")
    assert named == {
        str(folder / name): "no row in metadata.csv" for name in ("0/extra.HEIC", "1/another.tif")
    }
    assert "2 files left out, named in" in done.stderr.replace("\n", " ")


def test_every_file_of_another_kind_is_named(tmp_path, bundle, photos) -> None:
    for name in ("report.pdf", "._000000.jpg", "0/Thumbs.db", "scan"):
        (photos / name).write_bytes(b"any")
    (photos / ".hidden").mkdir()
    out = photos / "labels.csv"  # in the folder itself, and no news to anybody
    for _ in range(2):
        summary = classify(str(photos), bundle, out, SETTINGS, overwrite=True)
    named = {
        os.path.relpath(path, photos): why
        for path, why in left_out(photos / "labels.left-out.csv").items()
    }
    assert named == {
        "report.pdf": ".pdf is no picture's ending",
        "._000000.jpg": "hidden",
        "0/Thumbs.db": ".db is no picture's ending",
        "scan": "no ending",
        ".hidden": "hidden",
    }
    assert summary.left_out == 5


def test_where_nothing_is_left_out_nothing_is_said(tmp_path, bundle, photos) -> None:
    summary = classify(str(photos), bundle, tmp_path / "labels.csv", SETTINGS)
    assert (summary.left_out, summary.left_out_file) == (0, None)
    assert sorted(path.name for path in tmp_path.glob("labels*")) == ["labels.csv"]
