from __future__ import annotations

import io
import os
from collections import Counter
from pathlib import Path

import fsspec
import pytest

from batch.inputs import LEFT_OUT, recognise
from batch.reading import MissingImageError, Reader, UnreadableImageError
from porcelain.errors import DatasetError, ImageTooLargeError, UserError
from tests.pictures import jpeg


def names(text: str, below: Path | str = "") -> list[str]:
    found = recognise(text).locations(Counter())
    return sorted(path.removeprefix(f"{below}/") for path in found)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda folder: str(folder), "folder"),
        (lambda folder: str(folder / "*.jpg"), "glob"),
        (lambda folder: str(folder / "a.jpg"), "picture"),
        (lambda folder: str(folder / "list"), "list"),
        (lambda folder: "-", "list"),
        (lambda folder: "s3://bucket/folder", "url"),
    ],
)
def test_each_kind_of_input_is_recognised(tmp_path, make, kind) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    (tmp_path / "list").write_text("a.jpg\n")
    assert recognise(make(tmp_path)).kind == kind


def test_nothing_of_that_name_is_a_mistake(tmp_path) -> None:
    with pytest.raises(UserError, match=r"There is no .*photos"):
        recognise(str(tmp_path / "photos"))


def test_a_folder_is_walked_and_what_is_no_picture_is_counted(tmp_path) -> None:
    for name in ("b.JPG", "a/c.tiff", "a/notes.txt", ".hidden/d.jpg", ".e.jpg", "no-suffix"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    counts: Counter[str] = Counter()
    found = sorted(recognise(str(tmp_path)).locations(counts))
    assert found == [f"{tmp_path}/a/c.tiff", f"{tmp_path}/b.JPG"]
    assert counts[LEFT_OUT] == 2


def test_links_to_folders_are_followed_once(tmp_path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
    (outside / "a.jpg").write_bytes(b"")
    (inside / "link").symlink_to(outside)
    (outside / "back").symlink_to(inside)
    assert names(str(inside), inside) == ["link/a.jpg"]


def test_a_folder_that_cannot_be_listed_is_an_input_and_becomes_an_error(
    tmp_path, monkeypatch
) -> None:
    for name in ("a/1.jpg", "locked/2.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"")
    scandir = os.scandir

    def refusing(place):
        if str(place).endswith("locked"):
            raise PermissionError(13, "Permission denied", place)
        return scandir(place)

    monkeypatch.setattr("batch.inputs.os.scandir", refusing)
    assert names(str(tmp_path), tmp_path) == ["a/1.jpg", "locked"]
    with pytest.raises(UnreadableImageError):
        Reader(None, 100).read(str(tmp_path / "locked"))


def test_links_to_nowhere_and_in_circles_are_inputs_and_become_errors(tmp_path) -> None:
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "round.jpg").symlink_to("round.jpg")
    (tmp_path / "a.jpg").write_bytes(b"")
    assert names(str(tmp_path), tmp_path) == ["a.jpg", "gone.jpg", "round.jpg"]
    with pytest.raises(MissingImageError):
        Reader(None, 100).read(str(tmp_path / "gone.jpg"))
    with pytest.raises(UnreadableImageError, match="links"):
        Reader(None, 100).read(str(tmp_path / "round.jpg"))


def test_a_pattern_matches_at_any_depth_whatever_the_suffix(tmp_path) -> None:
    for name in ("a/1.jpg", "a/b/2.dat", "a/b/c.dat/3.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert names(f"{tmp_path}/**/*.dat", tmp_path) == ["a/b/2.dat"]
    assert names(f"{tmp_path}/a/*.jpg", tmp_path) == ["a/1.jpg"]


def test_a_dataset_folder_keeps_the_order_of_its_table(tmp_path) -> None:
    (tmp_path / "metadata.csv").write_text("\ufefffile_name,type\nb.jpg,bowl\na.jpg,\n")
    source = recognise(str(tmp_path))
    assert source.kind == "dataset"
    assert list(source.locations(Counter())) == [f"{tmp_path}/b.jpg", f"{tmp_path}/a.jpg"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("name\na.jpg\n", "no column file_name"),
        ("file_name\n../a.jpg\n", "line 2"),
        ("file_name\n/etc/passwd\n", "line 2"),
        ('file_name,type\na.jpg,"bowl\nb.jpg,dish\n', "line 2: a quote opens"),
        ("file_name,type\na.jpg,bowl,blue\n", "line 2 has more fields"),
    ],
)
def test_a_bad_table_is_told(tmp_path, table, said) -> None:
    (tmp_path / "metadata.csv").write_text(table)
    with pytest.raises(DatasetError, match=said):
        list(recognise(str(tmp_path)).locations(Counter()))


def test_a_list_keeps_order_and_repeats_and_takes_urls(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    # Windows programs begin a text with a byte order mark and end lines with CR and LF.
    text = "\ufeffb.jpg\r\na b.jpg\n\nb.jpg\ns3://museum/c.jpg\n"
    (tmp_path / "list.txt").write_text(text, newline="")
    expected = [f"{tmp_path}/b.jpg", f"{tmp_path}/a b.jpg", f"{tmp_path}/b.jpg"]
    expected.append("s3://museum/c.jpg")
    assert list(recognise("list.txt").locations(Counter())) == expected
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert list(recognise("-").locations(Counter())) == expected


def test_a_list_that_powershell_wrote_is_read(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text("青花.jpg\r\nb.jpg\r\n", encoding="utf-16", newline="")
    assert names("list.txt", tmp_path) == ["b.jpg", "青花.jpg"]


def test_a_list_of_zeros_is_no_list(tmp_path) -> None:
    (tmp_path / "list").write_bytes(b"a\0b\n")
    with pytest.raises(UserError, match="line 1 is no path"):
        list(recognise(str(tmp_path / "list")).locations(Counter()))


@pytest.fixture
def store() -> str:
    """A folder of an object store in memory."""
    memory = fsspec.filesystem("memory")
    for name in ("b.png", "deep/er/a.jpg", "notes.txt"):
        memory.pipe(f"/museum/{name}", name.encode())
    yield "memory://museum"
    memory.rm("/museum", recursive=True)


def test_an_object_store_is_walked_and_read(store) -> None:
    source, counts = recognise(store), Counter[str]()
    found = sorted(source.locations(counts))
    assert found == ["memory:///museum/b.png", "memory:///museum/deep/er/a.jpg"]
    assert counts[LEFT_OUT] == 1
    for root in (source.root, None):
        assert Reader(root, 100).read(found[1]) == b"deep/er/a.jpg"
    with pytest.raises(ImageTooLargeError):
        Reader(store, 3).read(found[0])
    with pytest.raises(MissingImageError):
        Reader(store, 100).read("memory:///museum/none.jpg")
    assert names(store + "/b.png") == ["memory:///museum/b.png"]


def test_files_of_this_machine_have_urls_too(tmp_path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"here")
    (location,) = names(f"file://{tmp_path}")
    assert location == f"file://{tmp_path}/a.jpg"
    assert Reader(None, 100).read(location) == b"here"


@pytest.mark.parametrize("url", ["memory://none", "file:///none/here", "nonsense://x/y"])
def test_a_url_of_nothing_is_a_mistake(url) -> None:
    with pytest.raises(UserError):
        list(recognise(url).locations(Counter()))


def test_what_is_no_file_is_never_waited_for(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    reader = Reader(None, 100)
    with pytest.raises(UnreadableImageError, match="not a file"):
        reader.read(str(tmp_path / "pipe.jpg"))
    with pytest.raises(UnreadableImageError, match="not a file"):
        reader.read(str(tmp_path))
    with pytest.raises(MissingImageError):
        reader.read(str(tmp_path / "none.jpg"))
    with pytest.raises(UnreadableImageError):
        reader.read("nonsense://x/y.jpg")
