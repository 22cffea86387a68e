from __future__ import annotations

import io
from typing import get_args
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from porcelain.synthetic_mark import (
    SOURCE_TYPE_KEY,
    SYNTHETIC_SOURCE_TYPE,
    XMP_KEYWORD,
    is_marked_synthetic,
    xmp_packets,
)
from porcelain.synthetic_picture import (
    MEDIA_TYPES,
    PictureFormat,
    Provenance,
    encode_synthetic,
    read_provenance,
)
from porcelain.watermark import embed_watermark

FORMATS = get_args(PictureFormat)
PIXELS = np.random.default_rng(1).integers(0, 255, (40, 24, 3), dtype=np.uint8)
MADE = Provenance("ab" * 32, 'a celadon <vase> & “青瓷” "bowl"', 2**63 - 1, 25, 7.5)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_marked_and_tells_how_it_was_made(kind):
    data = encode_synthetic(PIXELS, kind, MADE)
    assert is_marked_synthetic(data)
    assert read_provenance(data) == MADE
    picture = Image.open(io.BytesIO(data))
    assert (picture.format.lower(), picture.size) == (kind, (24, 40))
    assert picture.get_format_mimetype() == MEDIA_TYPES[kind]
    assert ElementTree.fromstring(picture.info["xmp"]).tag == "{adobe:ns:meta/}xmpmeta"
    assert encode_synthetic(PIXELS, kind, MADE) == data


def test_a_png_keeps_its_pixels_and_says_it_in_text_chunks_too():
    data = encode_synthetic(PIXELS, "png", MADE)
    picture = Image.open(io.BytesIO(data))
    assert np.array_equal(np.asarray(picture), embed_watermark(PIXELS))
    said = {name: str(text) for name, text in picture.text.items() if name != XMP_KEYWORD}
    assert said == {
        SOURCE_TYPE_KEY: SYNTHETIC_SOURCE_TYPE,
        "Software": "porcelain",
        "generator": MADE.generator,
        "prompt": MADE.prompt,
        "seed": str(MADE.seed),
        "steps": "25",
        "guidance_scale": "7.5",
    }
    # Told before the pixels, so that a reader need not pass them.
    assert data.index(b"XML:com.adobe.xmp") < data.index(b"IDAT")


@given(
    prompt=st.text(max_size=200).filter(lambda text: "\r" not in text),
    seed=st.integers(0, 2**63 - 1),
    guidance=st.floats(0, 50, allow_subnormal=False),
)
def test_any_prompt_comes_back(prompt, seed, guidance):
    made = Provenance("0", prompt, seed, 1, guidance)
    for kind in ("png", "webp"):
        read = read_provenance(encode_synthetic(PIXELS[:2, :2], kind, made))
        kept = (read.seed, read.guidance_scale, len(read.prompt))
        assert kept == (seed, guidance, len(prompt))
        for ours, theirs in zip(prompt, read.prompt, strict=True):
            # Only what XML cannot hold is replaced.
            assert ours == theirs or (theirs == " " and (ours < " " or ours in "\ufffe\uffff"))


def test_other_pictures_have_no_provenance():
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "PNG")
    assert read_provenance(buffer.getvalue()) is None
    assert read_provenance(b"") is None
    assert read_provenance(b"no picture at all") is None
    marked = encode_synthetic(PIXELS, "jpeg", MADE)
    packet = xmp_packets(marked)[0]
    for bad in (b"<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", b"<a", packet.replace(b"Seed", b"Sod")):
        buffer = io.BytesIO()
        Image.fromarray(PIXELS).save(buffer, "JPEG", xmp=bad)
        assert read_provenance(buffer.getvalue()) is None


@given(cut=st.integers(0, 3000), at=st.integers(0, 2999), byte=st.integers(0, 255))
def test_damage_never_raises(cut, at, byte):
    for kind in FORMATS:
        data = bytearray(encode_synthetic(PIXELS, kind, MADE))
        data[at % len(data)] = byte
        read_provenance(bytes(data[:cut]))
