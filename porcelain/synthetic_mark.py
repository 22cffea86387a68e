"""The mark by which a picture says that a model made it.

The mark is IPTC's Digital Source Type, in XMP or in a PNG text chunk. Only headers and metadata
are read, never pixels, so that asking costs little however large the picture is.

Sources: IPTC Photo Metadata Standard 2023.2 (Iptc4xmpExt:DigitalSourceType), XMP specification
part 3 (where JPEG, PNG, WebP and TIFF keep XMP), PNG third edition 11.3.3, WebP RIFF container.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from porcelain.images import sniff

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


def is_marked_synthetic(picture: Path | bytes) -> bool:
    """Whether a picture carries the mark of a generated picture.

    Damaged or foreign content never raises: what can be read of it decides.

    Args:
        picture: A file, or its content.
    """
    if isinstance(picture, bytes):
        return _marked(io.BytesIO(picture))
    with picture.open("rb") as file:
        return _marked(file)


def xmp_packets(data: bytes) -> list[bytes]:
    """The XMP packets of a PNG, JPEG or WebP picture; damaged or foreign content has none.

    Args:
        data: The file's content.
    """
    file = io.BytesIO(data)
    kind = sniff(data[:256])
    if kind == "PNG":
        return [text for keyword, text in _png_texts(file) if keyword == XMP_KEYWORD.encode()]
    if kind == "JPEG":
        prefix = _XMP_IN_JPEG[0]
        return [p.removeprefix(prefix) for p in _jpeg_packets(file) if p.startswith(prefix)]
    return list(_webp_packets(file)) if kind == "WEBP" else []


def _marked(file: BinaryIO) -> bool:
    kind = sniff(file.read(256))
    file.seek(0)
    if kind == "PNG":
        return any(_text_says(keyword, text) for keyword, text in _png_texts(file))
    if kind == "JPEG":
        return any(_IN_XMP.search(packet) for packet in _jpeg_packets(file))
    if kind == "WEBP":
        return any(_IN_XMP.search(packet) for packet in _webp_packets(file))
    # TIFF, AVIF and GIF keep the packet at places that only their own parsers find.
    return kind is not None and _IN_XMP.search(file.read()) is not None


def _text_says(keyword: bytes, text: bytes) -> bool:
    if keyword.rpartition(b":")[2].lower() == b"digitalsourcetype":
        return _IN_TEXT.search(text) is not None
    return _IN_XMP.search(text) is not None


def _png_texts(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Keyword and text of every text chunk, unpacked."""
    file.seek(8)
    while len(header := file.read(8)) == 8:
        length, kind = int.from_bytes(header[:4], "big"), header[4:]
        if kind not in (b"tEXt", b"zTXt", b"iTXt") or length > _MOST_BYTES:
            file.seek(length + 4, io.SEEK_CUR)
            continue
        keyword, _, rest = file.read(length).partition(b"\0")
        file.seek(4, io.SEEK_CUR)
        if kind == b"tEXt":
            yield keyword, rest
        elif kind == b"zTXt":
            yield keyword, _unpack(rest[1:])
        else:  # compression flag, compression method, language, translated keyword, text
            text = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
            yield keyword, _unpack(text) if rest[:1] == b"\1" else text


def _jpeg_packets(file: BinaryIO) -> Iterator[bytes]:
    """XMP packets of the APP1 segments before the first scan."""
    file.seek(2)
    while len(header := file.read(4)) == 4 and header[0] == 0xFF:
        if header[1] == 0xFF:  # fill byte before a marker
            file.seek(-3, io.SEEK_CUR)
            continue
        if header[1] == 0xDA:  # start of scan: pixels follow
            return
        content = int.from_bytes(header[2:], "big") - 2
        if content < 0:
            return
        if header[1] != 0xE1:
            file.seek(content, io.SEEK_CUR)
            continue
        segment = file.read(content)
        if segment.startswith(_XMP_IN_JPEG):
            yield segment


def _webp_packets(file: BinaryIO) -> Iterator[bytes]:
    """XMP chunks of a RIFF container."""
    file.seek(12)
    while len(header := file.read(8)) == 8:
        length = int.from_bytes(header[4:], "little")
        if header[:4] == b"XMP " and length <= _MOST_BYTES:
            yield file.read(length)
            file.seek(length % 2, io.SEEK_CUR)
        else:
            file.seek(length + length % 2, io.SEEK_CUR)


def _unpack(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, _MOST_BYTES)
    except zlib.error:
        return b""
