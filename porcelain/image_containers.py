"""What a decoder needs of a JPEG, PNG, GIF or AVIF file: its pixels, without the text around them.

Pillow reads every text, profile and EXIF entry that a file holds before it decodes a pixel, and
refuses the picture for a fault in any of them. A hostile file can make that reading take minutes
or gigabytes. So metadata is cut out first, in time and memory bounded by the file's size; what we
use of it (orientation, colour profile) is handed on as bytes.

Sources: ITU-T T.81 Annex B (JPEG), PNG third edition 5 and 11, GIF89a specification.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap
from typing import Final

from porcelain.errors import CorruptImageError, ImageTooLargeError

Buffer = bytes | mmap

MAX_SEGMENTS: Final = 50_000
"""Most segments, chunks or blocks of one file: a 64 MB PNG in usual pieces of 8 KB has 8,000."""
MAX_SCANS: Final = 100
MAX_SCANNED_PIXELS: Final = 1_280_000_000
"""Most scans of one JPEG, and most pixels of all its scans together: encoders write ten scans, and
each is a pass over the whole picture, however few bytes it has."""
MAX_PROFILE: Final = 4 * 1024 * 1024
"""Most bytes of a colour profile; a larger one is passed over."""

_JPEG_KEPT: Final = frozenset({*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD, 0xE0, 0xEE})
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE: Final = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})  # no length follows
_SOS, _EOI, _APP1, _APP2 = 0xDA, 0xD9, 0xE1, 0xE2
_EXIF, _ICC = b"Exif\0\0", b"ICC_PROFILE\0"
_PNG_KEPT: Final = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_FILL = re.compile(rb"\xff+")
# An item's entry in an AVIF's list of items (ISO 14496-12, 8.11.6), of the type Exif.
_AVIF_EXIF = re.compile(rb"(infe[\x02\x03].{7,9}?)Exif", re.DOTALL)


@dataclass(frozen=True)
class Content:
    """A file's pixels, and what else of it matters.

    Attributes:
        data: A file of the same format with the same pixels and little else.
        exif: The EXIF block (TIFF structure, EXIF 2.32), unread; empty where there is none.
        profile: The ICC profile where it is no longer in `data`; empty otherwise.
    """

    data: bytes
    exif: bytes = b""
    profile: bytes = b""


def without_metadata(data: bytes, kind: str) -> Content:
    """Cut metadata out of a file.

    Args:
        data: The file.
        kind: Its format's name; formats other than JPEG, PNG, GIF and AVIF are left as they are.

    Raises:
        CorruptImageError: Its segments do not follow one another, or are too many.
    """
    match kind:
        case "JPEG":
            return _jpeg(data)
        case "PNG":
            return _png(data)
        case "GIF":
            return Content(_gif(data))
        case "AVIF":
            # Its orientation stands in properties of the picture; its EXIF does not count
            # (MIAF, ISO 23000-22, 7.3.6.5).
            return Content(_AVIF_EXIF.sub(rb"\1free", data))
    return Content(data)


def jpeg_segments(data: Buffer) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment of a JPEG before its pixels, and of the first scan's.

    Raises:
        CorruptImageError: They end without a scan, or are too many.
    """
    at = 0
    for _ in range(MAX_SEGMENTS):
        at = data.find(b"\xff", at)
        fill = _FILL.match(data, at) if at >= 0 else None
        if fill is None or fill.end() == len(data):
            break
        start, marker = fill.end() - 1, data[fill.end()]
        at = fill.end() + 1
        if marker == _EOI:
            break
        if marker not in _JPEG_BARE:
            at = max(at, at + int.from_bytes(data[at : at + 2], "big"))
            yield marker, start, at
        if marker == _SOS:
            return
    raise CorruptImageError(
        "The JPEG data is corrupt or truncated (no picture in it); send the whole file."
    )


def png_chunks(data: Buffer) -> Iterator[tuple[bytes, int, int]]:
    """Type, start and end of each chunk of a PNG.

    Raises:
        CorruptImageError: They are too many.
    """
    at = 8
    for _ in range(MAX_SEGMENTS):
        kind = bytes(data[at + 4 : at + 8])
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        yield kind, at, end
        if kind == b"IEND" or end >= len(data):
            return
        at = end
    raise CorruptImageError(f"The PNG data is corrupt (more than {MAX_SEGMENTS:,} chunks).")


def _jpeg(data: bytes) -> Content:
    view, exif, profile, pixels = memoryview(data), b"", 0, 0
    parts: list[bytes | memoryview] = [b"\xff\xd8"]
    for marker, start, end in jpeg_segments(data):
        segment = view[start:end]
        if marker == _SOS:
            scans = data.count(b"\xff\xda", start)
            if scans > MAX_SCANS or (scans > 1 and scans * pixels > MAX_SCANNED_PIXELS):
                raise ImageTooLargeError(f"The JPEG has {scans} scans; save it with ten or fewer.")
            parts.append(view[start:])
        elif marker == _APP1 and segment[4:10] == _EXIF:
            exif = exif or bytes(segment[10:])
        elif marker == _APP2 and segment[4:16] == _ICC:
            profile += len(segment)
            if profile <= MAX_PROFILE:
                parts.append(segment)
        elif marker in _JPEG_KEPT:
            parts.append(segment)
            if marker in _JPEG_FRAMES:
                pixels = int.from_bytes(segment[5:7], "big") * int.from_bytes(segment[7:9], "big")
    return Content(b"".join(parts), exif)


def _png(data: bytes) -> Content:
    view, exif, profile = memoryview(data), b"", b""
    parts = [view[:8]]
    for kind, start, end in png_chunks(data):
        if kind in _PNG_KEPT:
            parts.append(view[start:end])
        elif kind == b"eXIf":
            exif = exif or bytes(view[start + 8 : end - 4])
        elif kind == b"iCCP":
            profile = profile or _png_profile(bytes(view[start + 8 : end - 4]))
    return Content(b"".join(parts), exif, profile)


def _png_profile(chunk: bytes) -> bytes:
    """The profile of an iCCP chunk: a name, a zero, a compression method, deflated bytes."""
    unpack = zlib.decompressobj()
    try:
        profile = unpack.decompress(chunk.partition(b"\0")[2][1:], MAX_PROFILE)
    except zlib.error:
        return b""
    return profile if unpack.eof else b""


def _gif(data: bytes) -> bytes:
    """Up to the first picture, only its graphic control extension is kept."""
    head = 13 + (3 << (data[10] & 7) + 1 if len(data) > 10 and data[10] & 0x80 else 0)
    at, control = head, b""
    for _ in range(MAX_SEGMENTS):
        kind = data[at : at + 1]
        if kind == b",":
            return b"".join([memoryview(data)[:head], control, memoryview(data)[at:]])
        if kind != b"!":
            raise CorruptImageError(
                "The GIF data is corrupt or truncated (no picture in it); send the whole file."
            )
        start, label = at, data[at + 1 : at + 2]
        at += 2
        while size := data[at : at + 1]:
            at += 1 + size[0]
            if size == b"\0":
                break
        if label == b"\xf9":
            control = data[start:at]
    raise CorruptImageError(f"The GIF data is corrupt (more than {MAX_SEGMENTS:,} blocks).")
