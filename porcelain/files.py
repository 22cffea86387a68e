"""Files that appear whole or not at all: written beside their place, then renamed into it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from porcelain.errors import UserError

SETTINGS_FILE = "settings.json"


def sha256_bytes(data: bytes) -> str:
    """Hex SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of the file at `path`, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replace_when_written(path: Path) -> Iterator[BinaryIO]:
    """A file to write into, which takes the place of `path` when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically: readers see the old file or the new one."""
    with replace_when_written(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path` atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Write `value` as indented JSON to `path` atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def reserve(path: Path, size: int) -> None:
    """Give a file its size and its room on the disk, before it is mapped into memory.

    A process that writes to mapped pages for which the disk has no room is killed (SIGBUS). What
    the file holds already stays.

    Raises:
        OSError: There is no room; none is taken then.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    before = os.fstat(descriptor).st_size
    try:
        # Asked first: allocating takes what there is before it fails, and others need it meanwhile.
        if size - before > shutil.disk_usage(path.parent).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if size > 0 and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)
        os.ftruncate(descriptor, size)
    except OSError as error:
        os.ftruncate(descriptor, before)
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


def work_folder(out: Path) -> Path:
    """The hidden folder beside `out` in which its content is prepared."""
    return out.parent / f".{out.name}.partial"


def check_free(out: Path, overwrite: bool, sources: Iterable[Path] = ()) -> None:
    """Refuse to replace what is at `out` unless asked to, and what is read in any case.

    Args:
        out: Where a folder is to appear.
        overwrite: Whether what is there may be replaced.
        sources: What the work reads.

    Raises:
        UserError: `out` is a file, a folder with something in it that may not be replaced, or one
            that holds a source.
    """
    for source in sources:
        if source.resolve().is_relative_to(out.resolve()):
            raise UserError(f"--out {out} would replace {source}; choose another folder.")
    if out.is_dir():
        if any(out.iterdir()) and not overwrite:
            raise UserError(f"{out} already exists; choose another --out or add --overwrite.")
    elif out.exists():
        raise UserError(f"{out} is a file, where a folder is to be written; choose another --out.")


@contextmanager
def atomic_folder(
    out: Path, *, settings: dict[str, Any] | None = None, overwrite: bool = False
) -> Iterator[Path]:
    """Prepare a folder beside `out` and rename it into place when the block succeeds.

    After an interruption the prepared folder stays, and the next run with equal `settings`
    finds its files there and goes on; with other settings it starts anew.

    Args:
        out: Where the folder is to appear.
        settings: JSON-ready settings that decide whether earlier work may be continued; saved as
            `settings.json`. None means that nothing is continued and nothing saved.
        overwrite: Replace a folder that is already at `out`.

    Yields:
        The folder to write into.

    Raises:
        UserError: `out` is taken and `overwrite` is false.
    """
    check_free(out, overwrite)
    work = work_folder(out)
    open_work_folder(work, settings)
    yield work
    replace_folder(work, out)


def open_work_folder(work: Path, settings: dict[str, Any] | None) -> None:
    """Make a folder for unfinished work, or go on in it where it was made with equal `settings`.

    Raises:
        UserError: The folder cannot be made.
    """
    if work.exists() and (settings is None or _read_settings(work) != _normalised(settings)):
        shutil.rmtree(work)
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot write to {work.parent}: {error.strerror or error}.") from error
    if settings is not None:
        write_json(work / SETTINGS_FILE, settings)


def replace_folder(work: Path, out: Path) -> None:
    """Rename `work` to `out`; what was at `out` is removed only after the rename succeeded.

    Every user may read its files then, as those written here: libraries make some for their own
    user alone, and a container runs as another.
    """
    for path in work.rglob("*"):
        if path.is_file() and not path.is_symlink() and not path.stat().st_mode & stat.S_IROTH:
            path.chmod(0o644)
    if out.exists():
        old = out.parent / f".{out.name}.old"
        shutil.rmtree(old, ignore_errors=True)
        out.rename(old)
        work.rename(out)
        shutil.rmtree(old)
    else:
        work.rename(out)


def _read_settings(work: Path) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return json.loads((work / SETTINGS_FILE).read_text())
    except (OSError, ValueError):
        return None


def _normalised(settings: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
    return json.loads(json.dumps(settings))
