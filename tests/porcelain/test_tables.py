from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from porcelain.errors import DatasetError
from porcelain.tables import StrayQuoteError, parse_csv, read_csv

CELL = st.text(st.characters(exclude_categories=["C"]), max_size=12).map(str.strip)


def rows_of(path, text: str, newline: str = "\n"):
    path.write_bytes(text.replace("\n", newline).encode())
    columns, rows = read_csv(path)
    return columns, [(row.line, row.cells) for row in rows]


@given(rows=st.lists(st.lists(CELL, min_size=3, max_size=3), max_size=6))
def test_whatever_a_spreadsheet_quotes_is_read_back(tmp_path_factory, rows):
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["a", "b", "c"], *rows])
    path = tmp_path_factory.mktemp("table") / "t.csv"
    path.write_bytes(text.getvalue().encode())
    _, found = read_csv(path)
    assert [list(row.cells.values()) for row in found] == [row for row in rows if any(row)]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_empty_rows_surplus_blanks_and_unnamed_columns(tmp_path, newline):
    text = "\ufeff,file_name ,type,\n0,a.jpg,bowl,,,\n,,,\n\n1,b\u2028c.jpg,\n"
    columns, rows = rows_of(tmp_path / "t.csv", text, newline)
    assert columns == ["file_name", "type"]
    assert rows == [
        (2, {"column 1": "0", "file_name": "a.jpg", "type": "bowl"}),
        (5, {"column 1": "1", "file_name": "b\u2028c.jpg", "type": ""}),
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('f,g,t\na.jpg,x,bowl\nb.jpg,x,"bowl\nc.jpg,x,dish\nd.jpg,x,vase\n', 3),
        ('f,g,t\na.jpg,"x,bowl\nb.jpg,"x",bowl\n', 2),
        ('f,g,t\na.jpg,x,"bowl\nb.jpg,x,dish\nc.jpg,x,vase"\nd.jpg,x,jar\n', 2),
        ('f,g,t\na.jpg,x,"1\n2"\nb.jpg,"two\nlines","bowl\nc.jpg,x,dish\n', 5),
        ('"f,g,t\na.jpg,x,bowl\n', 1),
        ('f,g,t\na.jpg,x,"bowl" of jade\n', 2),
        ('f,g,t\na.jpg,x,"bowl\n' + "b.jpg,x,dish\n" * 20_000, 2),
    ],
)
def test_a_quote_that_swallows_rows_is_told_with_the_line_where_it_opens(tmp_path, text, line):
    with pytest.raises(StrayQuoteError, match=rf"t\.csv line {line}: a quote opens") as caught:
        rows_of(tmp_path / "t.csv", text)
    assert caught.value.line == line
    assert "\n" not in str(caught.value)


def test_cells_of_several_lines_are_cells():
    text = 'f,notes,type\na.jpg,"on the foot, a mark:\nred, blue, white\nsee b.jpg",bowl\n'
    (_, (line, cells)) = parse_csv(text.splitlines(keepends=True), "t.csv")
    assert (line, len(cells), cells[2]) == (2, 3, "bowl")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2,3\n", "line 2 has more fields than the header"),
        ("a,b,a\n1,2,3\n", "the column a twice"),
        ("a;b\n1;2\n", "separated by semicolons"),
        ("a\tb\n1\t2\n", "separated by tabs"),
        ("a,b\n" + "x" * 1_000_001, "line 2 is too long"),
        ("a,b\n" + "x" * 200_000 + "\n", "line 2 is not CSV"),
    ],
)
def test_other_faults_are_one_line_each(tmp_path, text, said):
    with pytest.raises(DatasetError, match=said) as caught:
        rows_of(tmp_path / "t.csv", text)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_read_at_all(tmp_path):
    with pytest.raises(DatasetError, match="cannot be read"):
        read_csv(tmp_path / "none.csv")
    (tmp_path / "t.csv").write_bytes("a,b\n1,2\n".encode("utf-16"))
    with pytest.raises(DatasetError, match="not UTF-8"):
        read_csv(tmp_path / "t.csv")
