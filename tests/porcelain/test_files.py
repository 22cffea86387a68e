from __future__ import annotations

import hashlib
import os
import shutil
import stat
from pathlib import Path

import pytest

from porcelain.errors import UserError
from porcelain.files import (
    atomic_folder,
    check_free,
    reserve,
    sha256_bytes,
    sha256_file,
    work_folder,
    write_bytes,
    write_json,
    write_text,
)


def test_files_appear_whole_and_leave_nothing_beside(tmp_path, monkeypatch):
    path = tmp_path / "new" / "file.txt"
    write_text(path, "first 瓷")
    write_text(path, "second")
    assert path.read_text() == "second"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    write_json(path, {"glaze": "青瓷"})
    assert path.read_text() == '{\n  "glaze": "青瓷"\n}\n'

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_bytes(path, b"third")
    assert "青瓷" in path.read_text()
    assert list(path.parent.iterdir()) == [path]


def test_digests(tmp_path):
    content = os.urandom(300_000)
    write_bytes(tmp_path / "a", content)
    assert sha256_file(tmp_path / "a") == sha256_bytes(content)
    assert sha256_bytes(content) == hashlib.sha256(content).hexdigest()


def test_a_folder_appears_when_the_block_succeeds(tmp_path):
    out = tmp_path / "deep" / "out"
    with atomic_folder(out) as folder:
        (folder / "a").write_text("a")
        assert not out.exists()
    assert (out / "a").read_text() == "a"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def fail_in(out: Path, **options: object) -> None:
    with atomic_folder(out, **options) as folder:  # type: ignore[arg-type]
        (folder / "part").write_text("kept")
        raise RuntimeError


def test_every_user_may_read_a_folder_whatever_its_files_were_written_with(tmp_path):
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "lora").mkdir()
        (folder / "lora/weights").touch(0o600)
        (folder / "run").touch(0o755)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "out").rglob("*")}
    assert (modes["weights"], modes["run"]) == (0o644, 0o755)


def test_interrupted_work_goes_on_only_with_equal_settings(tmp_path):
    out = tmp_path / "out"
    settings = {"seed": 1, "size": (2, 3)}
    with pytest.raises(RuntimeError):
        fail_in(out, settings=settings)
    assert not out.exists()
    with atomic_folder(out, settings=settings) as folder:
        assert (folder / "part").read_text() == "kept"
    assert (out / "part").is_file()
    assert (out / "settings.json").is_file()

    with pytest.raises(RuntimeError):
        fail_in(out, settings=settings, overwrite=True)
    with atomic_folder(out, settings={"seed": 2}, overwrite=True) as folder:
        assert not (folder / "part").exists()

    with pytest.raises(RuntimeError):
        fail_in(out, overwrite=True)
    with atomic_folder(out, overwrite=True) as folder:
        assert not list(folder.iterdir())
    assert not list(out.iterdir())


def test_what_is_there_is_kept_unless_overwritten(tmp_path):
    out = tmp_path / "out"
    with atomic_folder(out) as folder:
        (folder / "old").write_text("old")
    with pytest.raises(UserError, match="--overwrite"):
        check_free(out, overwrite=False)
    with pytest.raises(RuntimeError):
        fail_in(out, overwrite=True)
    assert (out / "old").read_text() == "old"
    with atomic_folder(out, overwrite=True) as folder:
        (folder / "new").write_text("new")
    assert [path.name for path in out.iterdir()] == ["new"]
    assert not work_folder(out).exists()
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match="is a file"),
        atomic_folder(tmp_path / "file", overwrite=True),
    ):
        pass
    (tmp_path / "empty").mkdir()
    check_free(tmp_path / "empty", overwrite=False)


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write"), atomic_folder(tmp_path / "file" / "out"):
        pass


def test_what_is_read_is_never_replaced(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for out in (photos, tmp_path):
        with pytest.raises(UserError, match="would replace"):
            check_free(out, True, (photos,))
    check_free(photos / "bundle", True, (photos,))


def test_a_reserved_file_has_its_room_and_keeps_what_it_holds(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"vase")
    reserve(path, 1_000_000)
    assert path.read_bytes()[:5] == b"vase\0"
    assert path.stat().st_size == 1_000_000
    assert path.stat().st_blocks * 512 >= 1_000_000
    reserve(path, 10)
    assert path.stat().st_size == 10
    reserve(tmp_path / "empty", 0)
    assert (tmp_path / "empty").stat().st_size == 0


def test_no_room_to_reserve_is_an_error_and_takes_none(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"vase")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(OSError, match="file"):
        reserve(path, 10_000)
    assert path.read_bytes() == b"vase"
    monkeypatch.undo()

    def partly(descriptor: int, start: int, count: int) -> None:
        os.ftruncate(descriptor, count // 2)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", partly)
    with pytest.raises(OSError, match="file"):
        reserve(path, 10_000)
    assert path.read_bytes() == b"vase"
