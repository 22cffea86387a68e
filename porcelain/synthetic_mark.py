"""The mark by which a picture says that a model made it.

The mark is IPTC's Digital Source Type, in XMP or in a PNG text chunk. Only headers and metadata
are read, never pixels, so that asking costs little however large the picture is.

Sources: IPTC Photo Metadata Standard 2023.2 (Iptc4xmpExt:DigitalSourceType), XMP specification
part 3 (where JPEG, PNG, WebP and TIFF keep XMP), PNG third edition 11.3.3, WebP RIFF container.
"""

from __future__ import annotations

import mmap
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from porcelain.errors import CorruptImageError
from porcelain.image_containers import MAX_SEGMENTS, Buffer, jpeg_segments, png_chunks
from porcelain.image_formats import sniff

SOURCE_TYPE_KEY: Final = "Iptc4xmpExt:DigitalSourceType"
"""XMP property, and keyword of the PNG text chunk, that holds the source type."""

SYNTHETIC_SOURCE_TYPE: Final = (
    "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
)
"""IPTC's concept for a picture made by a trained model."""

XMP_KEYWORD: Final = "XML:com.adobe.xmp"
"""Keyword of the PNG iTXt chunk that holds an XMP packet."""

_XMP_IN_JPEG = (b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0")
_VALUE = rb"[^\"'<>]{0,300}?\b(?:compositeWithT|t)rainedAlgorithmicMedia\b"
# The three ways RDF has to write a property: as attribute, as element, as resource.
_IN_XMP = re.compile(
    rb"DigitalSourceType(?:\s*=\s*[\"']|\s*>|\s+[\w:]*resource\s*=\s*[\"'])" + _VALUE
)
_IN_TEXT = re.compile(rb"\b(?:compositeWithT|t)rainedAlgorithmicMedia\b")
_MOST_BYTES = 4 * 1024 * 1024
_MOST_TOGETHER = 16 * 1024 * 1024  # of all texts of one file

Segment = TypeVar("Segment")


def is_marked_synthetic(picture: Path | bytes) -> bool:
    """Whether a picture carries the mark of a generated picture.

    Damaged or foreign content never raises: what can be read of it decides.

    Args:
        picture: A file, or its content.
    """
    if isinstance(picture, bytes):
        return _marked(picture)
    with picture.open("rb") as file:
        if picture.stat().st_size == 0:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _marked(content)


def xmp_packets(data: bytes) -> list[bytes]:
    """The XMP packets of a PNG, JPEG or WebP picture; damaged or foreign content has none.

    Args:
        data: The file's content.
    """
    kind = sniff(data[:256])
    if kind == "PNG":
        return [text for keyword, text in _png_texts(data) if keyword == XMP_KEYWORD.encode()]
    if kind == "JPEG":
        prefix = _XMP_IN_JPEG[0]
        return [p.removeprefix(prefix) for p in _jpeg_packets(data) if p.startswith(prefix)]
    return list(_webp_packets(data)) if kind == "WEBP" else []


def _marked(data: Buffer) -> bool:
    kind = sniff(data[:256])
    if kind == "PNG":
        return any(_text_says(keyword, text) for keyword, text in _png_texts(data))
    if kind == "JPEG":
        return any(_IN_XMP.search(packet) for packet in _jpeg_packets(data))
    if kind == "WEBP":
        return any(_IN_XMP.search(packet) for packet in _webp_packets(data))
    # TIFF, AVIF, HEIC and GIF keep the packet at places that only their own parsers find.
    return kind is not None and _IN_XMP.search(data) is not None


def _text_says(keyword: bytes, text: bytes) -> bool:
    if keyword.rpartition(b":")[2].lower() == b"digitalsourcetype":
        return _IN_TEXT.search(text) is not None
    return _IN_XMP.search(text) is not None


def _png_texts(data: Buffer) -> Iterator[tuple[bytes, bytes]]:
    """Keyword and text of the text chunks, unpacked, until they are too many to be honest."""
    left = _MOST_TOGETHER
    for kind, start, end in _passing(png_chunks(data)):
        if kind not in (b"tEXt", b"zTXt", b"iTXt") or end - start > _MOST_BYTES:
            continue
        keyword, _, rest = bytes(data[start + 8 : end - 4]).partition(b"\0")
        if kind == b"tEXt":
            text = rest
        elif kind == b"zTXt":
            text = _unpack(rest[1:])
        else:  # compression flag, compression method, language, translated keyword, text
            text = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
            text = _unpack(text) if rest[:1] == b"\1" else text
        yield keyword, text
        left -= len(text)
        if left < 0:
            return


def _jpeg_packets(data: Buffer) -> Iterator[bytes]:
    """XMP packets of the APP1 segments before the first scan."""
    for marker, start, end in _passing(jpeg_segments(data)):
        if marker == 0xE1:
            segment = bytes(data[start + 4 : end])
            if segment.startswith(_XMP_IN_JPEG):
                yield segment


def _webp_packets(data: Buffer) -> Iterator[bytes]:
    """XMP chunks of a RIFF container."""
    at = 12
    for _ in range(MAX_SEGMENTS):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"XMP " and length <= _MOST_BYTES:
            yield bytes(data[at + 8 : at + 8 + length])
        at += 8 + length + length % 2
        if at >= len(data):
            return


def _passing(segments: Iterator[Segment]) -> Iterator[Segment]:
    """Those that come before the first that makes no sense."""
    with suppress(CorruptImageError):
        yield from segments


def _unpack(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, _MOST_BYTES)
    except zlib.error:
        return b""
