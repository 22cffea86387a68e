"""Other things than tables that hold labels, each read as a table: folders, exports, zips."""

from __future__ import annotations

import json
import re
import shutil
import stat
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from porcelain.errors import UserError
from porcelain.tables import PICTURE_NAME, Row
from porcelain.vocabulary import TASKS
from training.data.labels import LabelNames
from training.data.mapping import count_known
from training.data.matching import picture_names
from training.data.rows import is_litter
from training.data.tables import Table, TableOptions, decode_text, find_encoding, read_table

PARTS: Final = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation",
    "validation": "validation", "dev": "validation", "test": "test", "testing": "test",
}  # fmt: skip
TABLES: Final = (".xlsx", ".xlsm", ".csv", ".tsv", ".txt", ".tab")
RECORDS: Final = (".jsonl", ".ndjson", ".parquet")
_METADATA: Final = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
_UPLOADED: Final = re.compile(r"^[0-9a-f]{8}-(?=.)")
_MOST_ENTRIES: Final = 1_000_000


def folders_table(folder: Path, levels: Sequence[str] | None, names: LabelNames) -> Table:
    """A tree in which the names of folders are labels: a row for each picture.

    Args:
        folder: The tree.
        levels: What each level of folders means, from the top: a task, `object_id`, or `-` for
            nothing. None finds out by the names of the folders.
        names: Names of the labels.

    Raises:
        UserError: There is no picture, or no level's folders are named by labels.
    """
    pictures, _ = picture_names(folder)
    trees = [(name, PurePosixPath(name).parts[:-1]) for name in pictures]
    depth = max((len(parts) for _, parts in trees), default=0)
    if not pictures or not depth:
        what = "no picture" if not pictures else "pictures and no folders of them"
        raise UserError(f"{folder} holds {what}; give a folder with a folder for each class.")
    at = [sorted({parts[i] for _, parts in trees if i < len(parts)}) for i in range(depth)]
    if levels is None:
        found = _levels_of(at, names)
        if not set(found) & set(TASKS):
            listed = ", ".join(map(repr, at[0][:5]))
            raise UserError(
                f"The folders of {folder} are named by no label that is known ({listed} …); say "
                f"what each level means, as in --levels {','.join(TASKS[-2:])}."
            )
    else:
        found = [level.strip() for level in levels]
        strange = [level for level in found if level not in (*TASKS, "object_id", "-")]
        if strange or len(found) > depth:
            fault = f"{strange[0]!r} is none" if strange else f"there are only {depth}"
            raise UserError(
                f"--levels names what each level of folders means, of {', '.join(TASKS)}, "
                f"object_id and -; {fault}."
            )
    columns = ["file_name", *(level for level in found if level != "-")]
    rows = []
    for number, (name, parts) in enumerate(trees, start=1):
        cells = {"file_name": name} | dict.fromkeys(columns[1:], "")
        for level, part in zip(found, parts, strict=False):
            if level != "-":
                cells[level] = PARTS.get(part.casefold(), part) if level == "split" else part
        rows.append(Row(number, cells))
    meant = ", ".join(f"{i}: {level}" for i, level in enumerate(found, start=1))
    return Table(folder, columns, rows, {"Levels of folders": meant, "Pictures": str(len(rows))})


def _levels_of(at: list[list[str]], names: LabelNames) -> list[str]:
    """What each level means: parts of a split, or the task whose labels most folders name."""
    found: list[str] = []
    for folders in at:
        if all(folder.casefold() in PARTS for folder in folders) and "split" not in found:
            found.append("split")
            continue
        fits = {
            task: sum(names.read(task, folder).label is not None for folder in folders)
            for task in TASKS
            if task not in found
        }
        best = max(fits, key=lambda task: fits[task], default="")
        found.append(best if best and 2 * fits[best] >= len(folders) else "-")
    return found


def label_studio_table(path: Path) -> Table:
    """An export of Label Studio as JSON (whole, or JSON-MIN); CSV exports are tables.

    Raises:
        UserError: It is not such an export.
    """
    content = _json_of(path)
    tasks = content if isinstance(content, list) else []
    if not tasks or not all(isinstance(task, dict) for task in tasks):
        raise UserError(f"{path} is no export of Label Studio: a JSON list of tasks is expected.")
    rows, columns = [], ["file_name"]
    for number, task in enumerate(tasks, start=1):
        data = task.get("data") if isinstance(task.get("data"), dict) else None
        labels = _annotated(task) if data is not None else {}
        flat = data if data is not None else task
        images = {
            key: value for key, value in flat.items() if isinstance(value, str) and _is_image(value)
        }
        key = next((k for k in ("image", "img", "photo") if k in images), next(iter(images), None))
        cells = {"file_name": _uploaded_name(images[key]) if key else ""}
        cells |= {str(k): _choice(v) for k, v in flat.items() if k != key}
        cells |= labels
        columns += [name for name in cells if name not in columns]
        rows.append(Row(int(task["id"]) if str(task.get("id", "")).isdigit() else number, cells))
    full = [Row(row.line, dict.fromkeys(columns, "") | row.cells) for row in rows]
    return Table(path, columns, full, {"Tasks of Label Studio": str(len(full))})


def _annotated(task: dict[str, Any]) -> dict[str, str]:
    """Choices per control; several annotators who differ are told as several answers."""
    done = [a for a in task.get("annotations") or task.get("completions") or [] if a]
    found: dict[str, list[str]] = {}
    for annotation in done:
        if annotation.get("was_cancelled") or annotation.get("skipped"):
            continue
        for result in annotation.get("result") or []:
            value = _choice(result.get("value") or {})
            control = str(result.get("from_name", ""))
            if value and control and value not in found.setdefault(control, []):
                found[control].append(value)
    return {control: "; ".join(values) for control, values in found.items()}


def _choice(value: object) -> str:
    """What was chosen or written in any of Label Studio's forms."""
    if isinstance(value, dict):
        for key in ("choices", "taxonomy", "text", "labels", "rating", "number"):
            if key in value:
                return _choice(value[key])
        return json.dumps(value, ensure_ascii=False) if value else ""
    if isinstance(value, list):
        # A taxonomy's answer is a path; its end is the label.
        return "; ".join(_choice(v[-1] if isinstance(v, list) and v else v) for v in value)
    return "" if value is None else str(value)


def _is_image(text: str) -> bool:
    return bool(PICTURE_NAME.search(text.partition("?")[0]) or PICTURE_NAME.search(text))


def _uploaded_name(address: str) -> str:
    """The name that the picture had before it was uploaded."""
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d")
    path = local[0] if local else unquote(parts.path)
    name = PurePosixPath(path).name
    return _UPLOADED.sub("", name) if "/upload/" in address else (path if local else name)


def huggingface_table(folder: Path, names: LabelNames) -> Table:
    """An imagefolder of Hugging Face: `metadata.jsonl` or `.csv` files, or folders of classes.

    Raises:
        UserError: There is no such folder, or a line of it is not as the convention asks.
    """
    folder = folder.parent if folder.name in _METADATA and folder.is_file() else folder
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}; give an imagefolder of Hugging Face.")
    found = sorted(
        path
        for name in _METADATA
        for path in folder.rglob(name)
        if not is_litter(path.relative_to(folder).as_posix())
    )
    if not found:
        return folders_table(folder, None, names)
    columns, rows = ["file_name"], []
    for path in found:
        below = path.parent.relative_to(folder)
        part = next((PARTS[p] for p in map(str.casefold, below.parts) if p in PARTS), "")
        for line, cells in _metadata_rows(path):
            name = cells.get("file_name") or cells.get("image") or ""
            cells = cells | {"file_name": (below / name).as_posix() if name else ""}
            if part:
                cells["split"] = part
            columns += [column for column in cells if column not in columns]
            rows.append(Row(line, cells))
    full = [Row(row.line, dict.fromkeys(columns, "") | row.cells) for row in rows]
    listed = ", ".join(path.relative_to(folder).as_posix() for path in found)
    facts = {"Read": listed, "Rows": str(len(full))}
    return Table(folder, columns, full, facts, tuple(found))


def records_table(path: Path) -> Table:
    """A file of records (JSON lines or Parquet) as a table.

    Raises:
        UserError: A line of it is no record.
    """
    rows = list(_metadata_rows(path))
    columns = list(dict.fromkeys(name for _, cells in rows for name in cells))
    full = [Row(line, dict.fromkeys(columns, "") | cells) for line, cells in rows]
    return Table(path, columns, full, {"Rows": str(len(full))})


def _metadata_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    if path.suffix == ".csv":
        yield from ((row.line, row.cells) for row in read_table(path, count_known).rows)
        return
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        for number, row in enumerate(pq.read_table(path).to_pylist(), start=1):
            yield number, {str(key): _choice(value) for key, value in row.items()}
        return
    text, _ = decode_text(path.read_bytes(), path)
    # At \n alone: other separators of lines may stand inside a JSON text.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path} line {number} is not JSON: {error.msg}.") from error
        if not isinstance(row, dict):
            raise UserError(f"{path} line {number} is not a JSON object.")
        yield number, {str(key): _choice(value) for key, value in row.items()}


def _json_of(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    if not path.is_file():
        raise UserError(f"There is no file {path}; give an export of Label Studio as JSON.")
    text, _ = decode_text(path.read_bytes(), path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path} line {error.lineno} is not JSON: {error.msg}.") from error


def is_zip(path: Path) -> bool:
    """Whether a file is an archive and no workbook, which is one too."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return "[Content_Types].xml" not in archive.namelist()


@contextmanager
def unpacked(path: Path, beside: Path) -> Iterator[Path]:
    """What is in a zip, in a folder beside `beside` for as long as it is needed; else the path.

    Raises:
        UserError: The archive is damaged, locked, too large for the disk, or names a place outside
            itself.
    """
    if not is_zip(path):
        yield path
        return
    beside.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{beside.name}.unpacked.", dir=beside.parent) as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                _unpack(archive, path, Path(folder))
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
            raise UserError(f"{path} cannot be unpacked: {error}.") from error
        inside = [p for p in Path(folder).iterdir() if not is_litter(p.name)]
        # Most archives hold one folder with everything in it.
        yield inside[0] if len(inside) == 1 and inside[0].is_dir() else Path(folder)


def _unpack(archive: zipfile.ZipFile, path: Path, folder: Path) -> None:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    size = sum(entry.file_size for entry in entries)
    if len(entries) > _MOST_ENTRIES or size > shutil.disk_usage(folder).free:
        raise UserError(f"{path} holds {len(entries)} files of {size:,} bytes; the disk is full.")
    for entry in entries:
        name = _entry_name(entry).replace("\\", "/")
        target = folder / name
        link = stat.S_ISLNK(entry.external_attr >> 16)
        if link or not target.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{path} holds {name!r}, which leads out of it; nothing was read.")
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)


def _entry_name(entry: zipfile.ZipInfo) -> str:
    """The name of an entry; Windows writes it in the encoding of its country."""
    if entry.flag_bits & 0x800:
        return entry.filename
    raw = entry.orig_filename.encode("cp437", "replace")
    return raw.decode(find_encoding(raw), "replace")


def table_in(folder: Path, options: TableOptions) -> Table:
    """The one table in a folder.

    Raises:
        UserError: There is none, or several.
    """
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in TABLES
        and not is_litter(path.relative_to(folder).as_posix())
        and not path.name.startswith("~$")
    ]
    known = [path for path in found if path.suffix.lower() != ".txt"] or found
    if len(known) != 1:
        listed = ", ".join(path.relative_to(folder).as_posix() for path in known) or "none"
        raise UserError(f"One table is expected beside the pictures, and found: {listed}.")
    return read_table(known[0], count_known, options)
