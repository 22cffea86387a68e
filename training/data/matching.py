"""Which pictures belong to which row of a table, and why some belong to none."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from porcelain.errors import UserError
from porcelain.images import sniff
from porcelain.tables import PICTURE_NAME
from training.data.rows import is_litter

_SEVERAL: Final = re.compile(r"\s*[;|\n、；]\s*")
_COMMA: Final = re.compile(r"\s*[,，]\s*")


@dataclass(frozen=True)
class Match:
    """The pictures of a row.

    Attributes:
        pictures: Paths below the folder of pictures.
        how: What they were found by.
        problem: Why some or all of what the row names was not found; empty where nothing is amiss.
    """

    pictures: tuple[str, ...]
    how: str = ""
    problem: str = ""


def picture_names(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Pictures below a folder by their content, and why other files are none.

    Raises:
        UserError: There is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}; give the folder of the pictures.")
    pictures, others = [], {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file():
            continue
        if is_litter(name):
            others[name] = "left by macOS, Windows or a NAS; not a picture"
            continue
        try:
            with path.open("rb") as file:
                head = file.read(256)
        except OSError as error:
            others[name] = f"cannot be read: {error.strerror or error}"
            continue
        if sniff(head):
            pictures.append(name)
        elif PICTURE_NAME.search(name):
            others[name] = (
                "named like a picture, and in no format that is read" if head else "empty"
            )
        elif not name.startswith("."):
            others[name] = "not a picture"
    return pictures, others


class PictureIndex:
    """Finds pictures by what people write of them: path, name, stem, number of the object."""

    def __init__(self, pictures: Iterable[str], numbers: Iterable[str]) -> None:
        """Index pictures.

        Args:
            pictures: Paths below the folder.
            numbers: Every object's number, so that a picture goes to the longest that it begins
                with.
        """
        self._names = list(pictures)
        self._folders = {
            part for name in self._names for part in PurePosixPath(_folded(name)).parts[:-1]
        }
        self._ways: list[tuple[str, Callable[[str], str], dict[str, list[str]]]] = [
            (how, key, self._by(key))
            for how, key in (
                ("file name", _same),
                ("file name, but for case or form", _folded),
                ("file name in another folder", _base),
                ("file name without its ending", _stem),
                ("file name, but for what joins its words", _joined),
            )
        ]
        self._by_number: dict[str, list[str]] = defaultdict(list)
        known = {_number(number) for number in numbers} - {""}
        for name in self._names:
            tokens = _number(PurePosixPath(name).stem).split("_")
            for size in range(len(tokens), 0, -1):
                if (number := "_".join(tokens[:size])) in known:
                    self._by_number[number].append(name)
                    break
            else:
                # A folder for each object, named by its number.
                for part in reversed(PurePosixPath(name).parts[:-1]):
                    if _number(part) in known:
                        self._by_number[_number(part)].append(name)
                        break

    def match(self, given: str, number: str) -> Match:
        """The pictures that a row names, or else those of its object's number."""
        found: list[str] = []
        how, problems = "", []
        for name in self._split(given):
            pictures, by = self._find(name)
            if len(pictures) == 1:
                found += pictures
                how = how or by
            elif pictures:
                listed = ", ".join(pictures[:3])
                problems.append(f"{name!r} may be any of {len(pictures)} pictures: {listed}")
            else:
                problems.append(f"there is no picture {name!r}")
        if not found and number and (pictures := self._by_number.get(_number(number), [])):
            return Match(tuple(pictures), f"object number {number}", "; ".join(problems))
        if not found and not problems:
            missing = f"no picture is named by its object's number {number!r}"
            problems.append(missing if number else "the row names no picture and no object")
        return Match(tuple(dict.fromkeys(found)), how, "; ".join(problems))

    def _split(self, given: str) -> list[str]:
        parts = [part for part in _SEVERAL.split(given) if part]
        if len(parts) == 1 and "," in given.replace("，", ","):
            commas = [part for part in _COMMA.split(given) if part]
            # A comma may stand in a name.
            if not self._find(given)[0] and all(self._find(part)[0] for part in commas):
                return commas
        return parts

    def _find(self, name: str) -> tuple[list[str], str]:
        name = name.strip().strip("\"'").replace("\\", "/")
        for how, key, index in self._ways:
            if found := [other for other in index.get(key(name), []) if self._fits(name, other)]:
                return found, how
        return [], ""

    def _fits(self, given: str, name: str) -> bool:
        """Whether the folders of a path allow a picture: other disks may hold the same folders."""
        ours = PurePosixPath(_folded(name)).parts[:-1]
        theirs = PurePosixPath(_folded(given)).parts[:-1]
        size = min(len(ours), len(theirs))
        same = not size or ours[-size:] == theirs[-size:]
        return same or theirs[-1] not in self._folders

    def _by(self, key: Callable[[str], str]) -> dict[str, list[str]]:
        index: dict[str, list[str]] = defaultdict(list)
        for name in self._names:
            index[key(name)].append(name)
        return index


def _same(name: str) -> str:
    return str(PurePosixPath(name)) if name else ""


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", _same(name)).casefold()


def _base(name: str) -> str:
    return _folded(name).rpartition("/")[2]


def _stem(name: str) -> str:
    return PICTURE_NAME.sub("", _base(name))


def _joined(name: str) -> str:
    return _number(_stem(name))


def _number(text: str) -> str:
    """A number or name as its words: `1957.32 a`, `1957-32_A` and `1957/32/a` are one."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"[\W_]+", "_", folded).strip("_")
