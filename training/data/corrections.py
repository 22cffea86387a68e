"""A corrected copy of a dataset folder, with a log of every change. The original stays as it is."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Final

from porcelain.bundle import SPLIT_FILE
from porcelain.dataset import METADATA_FILE
from porcelain.errors import UserError
from porcelain.files import atomic_folder, check_free, write_text
from training.data.rows import Change, Examined, examine_rows, is_litter

LOG_FILE: Final = "corrections.csv"


def write_corrected(
    folder: Path,
    out: Path,
    *,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Change]:
    """Copy a dataset folder with every correction that `examine_rows` knows.

    Args:
        folder: The dataset folder; it is only read.
        out: Folder to write, with `corrections.csv` beside the corrected `metadata.csv`.
        overwrite: Replace what is at `out`.
        on_progress: Called with the files copied so far and their total.

    Returns:
        The corrections, each a row of `corrections.csv`.

    Raises:
        UserError: `out` is taken, or lies in the folder itself.
        DatasetError: `metadata.csv` cannot be read.
    """
    check_free(out, overwrite, (folder,))
    if out.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"--fix {out} lies in {folder}; choose a folder outside it.")
    examined = examine_rows(folder, any_form=True)
    changes = list(examined.changes)
    present = sorted(path for path in folder.rglob("*") if path.is_file())
    with atomic_folder(out, overwrite=overwrite) as work:
        for done, path in enumerate(present, start=1):
            name = path.relative_to(folder).as_posix()
            if why := _left_out(name, examined):
                changes.append(Change(0, "", name, "", why))
            elif name != METADATA_FILE:
                (work / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, work / name)
            if on_progress is not None:
                on_progress(done, len(present))
        rows = [[row.cells.get(name, "") for name in examined.columns] for row in examined.rows]
        write_text(work / METADATA_FILE, _csv([examined.columns, *rows]))
        header = ["line", "column", "before", "after", "why"]
        write_text(work / LOG_FILE, _csv([header, *(list(astuple(change)) for change in changes)]))
    return changes


def _left_out(name: str, examined: Examined) -> str:
    if is_litter(name):
        return "left out: not a picture of yours"
    moved = any(change.column in ("", "file_name", "object_id") for change in examined.changes)
    if name == SPLIT_FILE and moved:
        return "left out: rows or objects have changed; split anew"
    return ""


def _csv(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
