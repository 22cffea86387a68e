"""A job's folder for unfinished work: who has it, what it was begun with, and its end."""

from __future__ import annotations

import errno
import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import filelock

from porcelain.errors import PorcelainError, UserError
from porcelain.files import SETTINGS_FILE, work_folder, write_json

_LOCK_SUFFIX: Final = ".lock"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
RUN: Final = "run"


class DiskFullError(PorcelainError):
    """There is no room for what is to be written."""


@contextmanager
def only_one(out: Path) -> Iterator[None]:
    """Keep a second job from writing the same result at the same time.

    Raises:
        UserError: There is one.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(out.parent / f".{out.name}{_LOCK_SUFFIX}")
    try:
        with lock.acquire(timeout=0):
            try:
                yield
            finally:
                Path(lock.lock_file).unlink(missing_ok=True)
    except filelock.Timeout as error:
        raise UserError(
            f"Another process is writing {out}; let it end, or choose another --out."
        ) from error


@contextmanager
def room_for(out: Path) -> Iterator[None]:
    """Say clearly that the disk is full.

    Raises:
        DiskFullError: It is.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFullError(
            f"No room is left to write {out} ({error.strerror}); the finished parts are kept in "
            f"{work_folder(out)}. Make room and run the same command again: it goes on from there."
        ) from error


def begin(
    out: Path, identity: Mapping[str, Any], *, begun: bool, overwrite: bool
) -> tuple[str, bool]:
    """Open the folder for unfinished work, or go on in it.

    Args:
        out: The result's place.
        identity: JSON-ready settings and inputs that the result depends on.
        begun: Whether there is work in the folder that would be lost.
        overwrite: Whether work of another job may be thrown away.

    Returns:
        The run's own name, which stays the same until it ends, and whether it goes on with the
        work that was begun.

    Raises:
        UserError: The work in it was begun with other settings.
    """
    folder = work_folder(out)
    kept = begun_with(out)
    wanted = json.loads(json.dumps(identity))
    if kept is not None:
        run = str(kept.pop(RUN, ""))
        if kept == wanted:
            return run, begun
        if begun and not overwrite:
            changed = sorted(k for k in {*kept, *wanted} if kept.get(k) != wanted.get(k))
            raise UserError(
                f"The unfinished work in {folder} was begun with another "
                f"{' and '.join(name.replace('_', '-') for name in changed)}; run the command as "
                "it was begun to go on, or add --overwrite to begin anew."
            )
    if folder.exists():
        shutil.rmtree(folder)
    run = uuid.uuid4().hex
    folder.mkdir(parents=True)
    write_json(folder / SETTINGS_FILE, {**wanted, RUN: run})
    return run, False


def begun_with(out: Path) -> dict[str, Any] | None:
    """What unfinished work was begun with; None where there is none."""
    try:
        found: dict[str, Any] = json.loads((work_folder(out) / SETTINGS_FILE).read_text())
    except (OSError, ValueError):
        return None
    return found


def end(out: Path) -> None:
    """Remove the folder for unfinished work; what says whose it was goes last."""
    folder = work_folder(out)
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != SETTINGS_FILE:
            path.unlink()
    shutil.rmtree(folder, ignore_errors=True)
