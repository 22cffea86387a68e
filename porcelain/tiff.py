"""TIFF files: their directories of tags, which EXIF blocks have too.

Read here, and not by Pillow, because Pillow reads every directory of a file and every value of
each, however many they are and however often they claim the same bytes.

Sources: TIFF 6.0; TIFF Technical Note 1 (sub-directories); BigTIFF; EXIF 2.32; DNG 1.7.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Collection, Iterator, Sequence
from enum import IntEnum
from typing import Final

import numpy as np

from porcelain.errors import CorruptImageError, UnsupportedImageError
from porcelain.image_containers import MAX_PROFILE

Entry = tuple[int, int, bytes]
"""A tag's type, its count of values, and their bytes."""

MAX_DIRECTORIES: Final = 32
MAX_ENTRIES: Final = 4096
MAX_STRIPS: Final = 100_000


class Tag(IntEnum):
    """Tags of a directory (TIFF 6.0, its supplements, EXIF 2.32, DNG 1.7)."""

    SUBFILE_TYPE = 254
    WIDTH = 256
    LENGTH = 257
    BITS_PER_SAMPLE = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    MAKE = 271
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES_PER_PIXEL = 277
    ROWS_PER_STRIP = 278
    STRIP_BYTE_COUNTS = 279
    MAX_SAMPLE_VALUE = 281
    PLANAR_CONFIGURATION = 284
    PREDICTOR = 317
    TILE_WIDTH = 322
    TILE_LENGTH = 323
    TILE_OFFSETS = 324
    TILE_BYTE_COUNTS = 325
    SUB_IFDS = 330
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    S_MAX_SAMPLE_VALUE = 341
    ICC_PROFILE = 34675
    DNG_VERSION = 50706


_DECODING: Final = frozenset(
    {*range(Tag.WIDTH, Tag.PHOTOMETRIC + 1), *range(Tag.TILE_WIDTH, Tag.TILE_BYTE_COUNTS + 1)}
    | {Tag.FILL_ORDER, Tag.STRIP_OFFSETS, Tag.STRIP_BYTE_COUNTS, Tag.ROWS_PER_STRIP}
    | {Tag.SAMPLES_PER_PIXEL, Tag.PLANAR_CONFIGURATION, Tag.PREDICTOR, Tag.EXTRA_SAMPLES}
    | {Tag.SAMPLE_FORMAT, Tag.ICC_PROFILE}
    | {292, 293, 320, 332, 347, *range(512, 522), *range(529, 533)}
)
"""Tags that tell how to decode; the numbers are those of fax, palettes, inks, JPEG and YCbCr."""
_NUMBERS: Final = {
    **{1: "u1", 2: "u1", 3: "u2", 4: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4"},
    **{11: "f4", 12: "f8", 13: "u4", 16: "u8", 17: "i8", 18: "u8"},
}
"""Tag types as NumPy calls them."""
_BIG: Final = frozenset({16, 17, 18})
_SIZES: Final = {5: 8, 10: 8, **{kind: int(name[1]) for kind, name in _NUMBERS.items()}}
_RAW: Final = frozenset({32803, 34892})  # photometric: colour filter array, linear raw


class Directory:
    """One image file directory: what a TIFF says of one of its pictures."""

    def __init__(self, data: bytes, offset: int) -> None:
        """Read the entries at `offset` without their values.

        Raises:
            CorruptImageError: They are cut off, or claim more bytes than the file has.
        """
        self._data = data
        self.offset = offset
        self.order = "<" if data[:2] == b"II" else ">"
        self.big = b"+" in data[2:4]
        count, entry, link = ("Q", "HHQ8s", "Q") if self.big else ("H", "HHI4s", "I")
        try:
            (size,) = struct.unpack_from(self.order + count, data, offset)
            start = offset + struct.calcsize(count)
            if size > MAX_ENTRIES:
                raise CorruptImageError("The TIFF data is corrupt (too many entries).")
            step = struct.calcsize("=" + entry)
            entries = struct.iter_unpack(self.order + entry, data[start : start + size * step])
            self._entries = {tag: (kind, n, value) for tag, kind, n, value in entries}
            (self.next,) = struct.unpack_from(self.order + link, data, start + size * step)
        except struct.error:
            raise CorruptImageError(
                "The TIFF data is corrupt or truncated (no directory); send the whole file."
            ) from None

    def check(self) -> None:
        """Refuse what would take long to read.

        Raises:
            CorruptImageError: Entries claim more than the file holds, or strips are too many.
        """
        kept = [entry for tag, entry in self._entries.items() if tag in _DECODING]
        sizes = [_SIZES.get(kind, 1) * count for kind, count, _ in kept]
        if sum(sizes) > 2 * len(self._data):
            raise CorruptImageError(
                "The TIFF data is corrupt (its directory claims more bytes than there are)."
            )
        most = max(
            self._entries.get(tag, (0, 0))[1] for tag in (Tag.STRIP_OFFSETS, Tag.TILE_OFFSETS)
        )
        if most > MAX_STRIPS:
            raise CorruptImageError(
                f"The TIFF data is corrupt (more than {MAX_STRIPS:,} strips or tiles)."
            )

    def values(self, tag: int) -> tuple[float, ...]:
        """The numbers of a tag; empty where it is not there or points nowhere."""
        kind, count, inline = self._entries.get(tag, (0, 0, b""))
        if kind not in _NUMBERS or not 0 < count <= MAX_STRIPS:
            return ()
        dtype = np.dtype(self.order + _NUMBERS[kind])
        if dtype.itemsize * count <= len(inline):
            return tuple(np.frombuffer(inline, dtype, count).tolist())
        (place,) = struct.unpack(self.order + ("Q" if self.big else "I"), inline)
        if place + dtype.itemsize * count > len(self._data):
            return ()
        return tuple(np.frombuffer(self._data, dtype, count, place).tolist())

    def value(self, tag: int, default: int = 0) -> int:
        """The first number of a tag."""
        found = self.values(tag)
        return int(found[0]) if found and math.isfinite(found[0]) else default

    def content(self, tag: int) -> bytes:
        """The bytes of a tag's value; empty where it is not there or points nowhere."""
        kind, count, inline = self._entries.get(tag, (0, 0, b""))
        size = _SIZES.get(kind, 1) * count
        if size <= len(inline):
            return bytes(inline[:size])
        (place,) = struct.unpack(self.order + ("Q" if self.big else "I"), inline)
        found = self._data[place : place + size] if size <= MAX_PROFILE else b""
        return found if len(found) == size else b""

    def entries(self, tags: Collection[int]) -> dict[int, Entry]:
        """Type, count and value of some tags, none of the types that only BigTIFF has."""
        found = {}
        for tag, (kind, count, _) in self._entries.items():
            if tag in tags and kind in _BIG:
                found[tag] = self.longs(self.values(tag))
            elif tag in tags and (content := self.content(tag)):
                found[tag] = kind, count, content
        return found

    def longs(self, numbers: Sequence[float]) -> Entry:
        """The entry of some numbers of 32 bits."""
        words = [min(int(one), 2**32 - 1) for one in numbers]
        return 4, len(words), struct.pack(f"{self.order}{len(words)}I", *words)

    def text(self, tag: int) -> str:
        """The printable beginning of a text."""
        content = bytes(int(one) & 0xFF for one in self.values(tag)[:40])
        return "".join(c for c in content.decode("ascii", "ignore") if c.isprintable()).strip()

    def __contains__(self, tag: int) -> bool:
        return tag in self._entries


def orientation(exif: bytes) -> int:
    """The orientation that an EXIF block states, from 1 to 8; 1 where it makes no sense.

    Args:
        exif: TIFF structure, with or without the word Exif and two zeros before it.
    """
    block = exif.removeprefix(b"Exif\0\0")
    if block[:4] not in (b"II*\0", b"MM\0*"):
        return 1
    try:
        found = Directory(block, _first_offset(block)).value(Tag.ORIENTATION, 1)
    except CorruptImageError:
        return 1
    return found if 1 <= found <= 8 else 1


def main_directory(data: bytes) -> Directory:
    """The directory of the picture that a TIFF is about: its first that is no thumbnail.

    Raises:
        UnsupportedImageError: The file is a camera raw file (DNG, NEF, ARW, CR2 and others).
        CorruptImageError: The directories cannot be read.
    """
    if data[8:10] == b"CR":
        raise _camera_raw("Canon CR2")
    directories = list(_directories(data))
    first = directories[0]
    if Tag.DNG_VERSION in first:
        raise _camera_raw("DNG")
    if any(one.value(Tag.PHOTOMETRIC) in _RAW for one in directories):
        raise _camera_raw(first.text(Tag.MAKE) or "TIFF with sensor data")
    whole = [
        one for one in directories if not one.value(Tag.SUBFILE_TYPE) & 1 and one.value(Tag.WIDTH)
    ]
    main = whole[0] if whole else first
    main.check()
    return main


def _camera_raw(name: str) -> UnsupportedImageError:
    return UnsupportedImageError(
        f"The file is camera raw ({name}), which holds sensor data and a thumbnail; develop it "
        "and send a TIFF or JPEG."
    )


def _first_offset(data: bytes) -> int:
    order = "<" if data[:2] == b"II" else ">"
    big = b"+" in data[2:4]
    try:
        return int(struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0])
    except struct.error:
        raise CorruptImageError(
            "The TIFF data is corrupt or truncated (no header); send the whole file."
        ) from None


def _directories(data: bytes) -> Iterator[Directory]:
    """The chain of directories, each followed by its sub-directories; broken links are passed."""
    seen, waiting = set[int](), [_first_offset(data)]
    for _ in range(MAX_DIRECTORIES):
        if not waiting:
            return
        offset = waiting.pop(0)
        if offset == 0 or offset in seen:
            continue
        first = not seen
        seen.add(offset)
        try:
            directory = Directory(data, offset)
        except CorruptImageError:
            if first:
                raise
            continue
        yield directory
        subs = directory.values(Tag.SUB_IFDS)[:MAX_DIRECTORIES]
        waiting = [*(int(one) for one in subs), directory.next, *waiting]


def single_picture(data: bytes, directory: Directory) -> bytes:
    """The same file with one directory, that of one picture, and in it only what decoding needs.

    Pillow follows every directory that a file has, and reads every entry of each.
    """
    return with_directory(data, directory.order, directory.entries(_DECODING))


def with_directory(data: bytes, order: str, entries: dict[int, Entry]) -> bytes:
    """The file with one more directory at its end, which its header points to."""
    start = len(data) + len(data) % 2
    place = start + 2 + 12 * len(entries) + 4
    table, values = [struct.pack(order + "H", len(entries))], []
    for tag, (kind, count, content) in sorted(entries.items()):
        value = content.ljust(4, b"\0")
        if len(content) > 4:
            values.append(content + bytes(len(content) % 2))
            value = struct.pack(order + "I", place)
            place += len(values[-1])
        table.append(struct.pack(order + "HHI", tag, kind, count) + value)
    header = struct.pack(f"{order}2sHI", data[:2], 42, start)
    pixels = memoryview(data)[len(header) :]
    return b"".join([header, pixels, bytes(start - len(data)), *table, bytes(4), *values])
