from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from porcelain.synthetic_mark import (
    SOURCE_TYPE_KEY,
    SYNTHETIC_SOURCE_TYPE,
    XMP_KEYWORD,
    is_marked_synthetic,
)

IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
CAPTURE = IPTC + "digitalCapture"


def packet(prop: str) -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f"{prop}</rdf:RDF></x:xmpmeta>"
    ).encode()


def attribute(value: str) -> bytes:
    return packet(f'<rdf:Description {SOURCE_TYPE_KEY}="{value}" dc:x="trained"/>')


def element(value: str) -> bytes:
    return packet(f"<rdf:Description><{SOURCE_TYPE_KEY}>{value}</{SOURCE_TYPE_KEY}>")


def resource(value: str) -> bytes:
    return packet(f"<rdf:Description><{SOURCE_TYPE_KEY} rdf:resource='{value}'/>")


def encode(kind: str, **options: object) -> bytes:
    grain = np.random.default_rng(1).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grain).save(buffer, kind, **options)
    return buffer.getvalue()


def png_with(keyword: str, text: str, how: str) -> bytes:
    info = PngInfo()
    if how == "iTXt":
        info.add_itxt(keyword, text)
    elif how == "compressed iTXt":
        info.add_itxt(keyword, text, zip=True)
    else:
        info.add_text(keyword, text, zip=how == "zTXt")
    return encode("PNG", pnginfo=info)


@pytest.mark.parametrize("how", ["tEXt", "zTXt", "iTXt", "compressed iTXt"])
def test_png_text_chunks(how):
    assert is_marked_synthetic(png_with(SOURCE_TYPE_KEY, SYNTHETIC_SOURCE_TYPE, how))
    assert is_marked_synthetic(png_with("DigitalSourceType", "trainedAlgorithmicMedia", how))
    xmp = attribute(SYNTHETIC_SOURCE_TYPE).decode()
    assert is_marked_synthetic(png_with(XMP_KEYWORD, xmp, how))
    assert not is_marked_synthetic(png_with(SOURCE_TYPE_KEY, CAPTURE, how))
    assert not is_marked_synthetic(png_with("Comment", SYNTHETIC_SOURCE_TYPE, how))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG", "TIFF", "AVIF"])
@pytest.mark.parametrize("form", [attribute, element, resource])
def test_xmp_in_every_format_and_form(kind, form):
    options = (
        {"tiffinfo": {700: form(SYNTHETIC_SOURCE_TYPE)}}
        if kind == "TIFF"
        else {"xmp": form(SYNTHETIC_SOURCE_TYPE)}
    )
    if kind == "PNG":
        info = PngInfo()
        info.add_itxt(XMP_KEYWORD, form(SYNTHETIC_SOURCE_TYPE).decode())
        options = {"pnginfo": info}
    assert is_marked_synthetic(encode(kind, **options))
    assert not is_marked_synthetic(encode(kind))


@pytest.mark.parametrize(
    ("value", "marked"),
    [
        (IPTC + "compositeWithTrainedAlgorithmicMedia", True),
        ("trainedAlgorithmicMedia", True),
        (CAPTURE, False),
        (IPTC + "untrainedAlgorithmicMedia", False),
        (IPTC + "algorithmicMedia", False),
    ],
)
def test_which_source_types_count(value, marked):
    for form in (attribute, element, resource):
        assert is_marked_synthetic(encode("JPEG", xmp=form(value))) == marked


def test_a_mention_elsewhere_is_no_mark():
    prop = f'<d {SOURCE_TYPE_KEY}="{CAPTURE}" dc:description="not {SYNTHETIC_SOURCE_TYPE}"/>'
    assert not is_marked_synthetic(encode("JPEG", xmp=packet(prop)))


def test_a_mark_behind_the_pixels_and_in_a_file(tmp_path):
    marked = png_with(SOURCE_TYPE_KEY, SYNTHETIC_SOURCE_TYPE, "tEXt")
    start = marked.index(b"tEXt") - 4
    end = start + 12 + int.from_bytes(marked[start : start + 4], "big")
    moved = marked[:start] + marked[end:-12] + marked[start:end] + marked[-12:]
    assert moved.index(b"IDAT") < moved.index(b"tEXt")
    path = Path(tmp_path / "a.jpg")
    path.write_bytes(moved)
    assert is_marked_synthetic(path)


@given(cut=st.integers(0, 3000), at=st.integers(0, 2999), byte=st.integers(0, 255))
def test_damage_never_raises(cut, at, byte):
    for kind in ("JPEG", "WEBP"):
        data = bytearray(encode(kind, xmp=attribute(SYNTHETIC_SOURCE_TYPE)))
        data[at % len(data)] = byte
        assert is_marked_synthetic(bytes(data[:cut])) in (True, False)
    data = bytearray(png_with(SOURCE_TYPE_KEY, SYNTHETIC_SOURCE_TYPE, "zTXt"))
    data[at % len(data)] = byte
    assert is_marked_synthetic(bytes(data[:cut])) in (True, False)


def test_what_is_no_picture_has_no_mark():
    assert not is_marked_synthetic(b"")
    assert not is_marked_synthetic(attribute(SYNTHETIC_SOURCE_TYPE))
