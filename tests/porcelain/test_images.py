from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from porcelain.errors import (
    CorruptImageError,
    ImageError,
    ImageTooLargeError,
    UnsupportedImageError,
)
from porcelain.images import DecodeLimits, decode_image, sniff
from tests import pictures

FORMATS = pictures.every_format()


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_red_picture(name: str) -> None:
    data, kind = FORMATS[name]
    decoded = decode_image(data)
    assert decoded.format == sniff(data) == kind
    assert decoded.pixels.mode == "RGB"
    assert decoded.pixels.size == (decoded.width, decoded.height)
    red, green, blue = np.asarray(decoded.pixels)[-4:, -4:].reshape(-1, 3).mean(axis=0)
    assert red > 200
    assert green < 60
    assert blue < 60


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_becomes_upright(orientation: int) -> None:
    upright = np.asarray(decode_image(pictures.rotated_jpeg(1)).pixels).astype(int)
    decoded = decode_image(pictures.rotated_jpeg(orientation))
    assert (decoded.width, decoded.height) == (pictures.WIDTH, pictures.HEIGHT)
    difference = np.abs(np.asarray(decoded.pixels).astype(int) - upright)
    assert difference.mean() < 2


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_impossible_orientation_counts_as_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_image(pictures.jpeg(exif=exif.tobytes()))
    assert (decoded.width, decoded.height) == (pictures.WIDTH, pictures.HEIGHT)


def test_transparency_lies_over_white() -> None:
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    image.putpixel((0, 0), (255, 0, 0, 128))
    pixels = np.asarray(decode_image(pictures.encode(image, "PNG")).pixels)
    assert pixels[4, 4].tolist() == [255, 255, 255]
    assert pixels[0, 0].tolist() == [255, 127, 127]


def test_a_transparent_palette_lies_over_white() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    pixels = np.asarray(decode_image(pictures.encode(image, "PNG", transparency=0)).pixels)
    assert pixels[0, 0].tolist() == [255, 255, 255]


def test_16_bit_greys_keep_their_brightness() -> None:
    assert np.asarray(decode_image(pictures.grey_16_bit()).pixels).mean() == pytest.approx(
        170, 0.01
    )


@pytest.mark.parametrize("value", [0.25, 64.0])
def test_floating_point_greys_are_scaled(value: float) -> None:
    image = Image.fromarray(np.full((4, 4), value, dtype=np.float32))
    pixels = np.asarray(decode_image(pictures.encode(image, "TIFF")).pixels)
    assert pixels.mean() == pytest.approx(64, abs=1)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"])
def test_every_colour_mode_becomes_rgb(mode: str) -> None:
    image = Image.new(mode, (5, 3))
    assert decode_image(pictures.encode(image, "TIFF")).pixels.mode == "RGB"


def swapped_primaries() -> bytes:
    """An ICC profile under which the numbers of red mean blue."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace("sRGB".encode("utf-16-be"), "Test".encode("utf-16-be"))
    tags, rest = profile[:300], profile[300:]
    tags = tags.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")
    return tags + rest


def test_colours_are_converted_from_the_embedded_profile() -> None:
    pixels = np.asarray(decode_image(pictures.jpeg(icc_profile=swapped_primaries())).pixels)
    red, green, blue = pixels[-4:, -4:].reshape(-1, 3).mean(axis=0)
    assert blue > 200
    assert max(red, green) < 60


def test_an_srgb_profile_changes_nothing() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    marked = decode_image(pictures.jpeg(icc_profile=srgb)).pixels
    assert marked.tobytes() == decode_image(pictures.jpeg()).pixels.tobytes()


@pytest.mark.parametrize("profile", [b"", b"nonsense", b"\0" * 200])
def test_a_broken_profile_is_ignored(profile: bytes) -> None:
    decoded = decode_image(pictures.jpeg(icc_profile=profile))
    assert decoded.pixels.tobytes() == decode_image(pictures.jpeg()).pixels.tobytes()


def test_one_pixel() -> None:
    decoded = decode_image(pictures.encode(Image.new("RGB", (1, 1)), "PNG"))
    assert (decoded.width, decoded.height) == (1, 1)


def test_a_large_jpeg_is_decoded_smaller_but_reports_its_size() -> None:
    data = pictures.jpeg(pictures.scene(2048, 1024))
    decoded = decode_image(data, longest_side=224)
    assert (decoded.width, decoded.height) == (2048, 1024)
    assert decoded.pixels.size == (256, 128)


@pytest.mark.parametrize("bomb", [pictures.png_bomb(), pictures.jpeg_bomb()])
def test_a_bomb_is_refused_by_its_header(bomb: bytes) -> None:
    with pytest.raises(ImageTooLargeError, match="pixels"):
        decode_image(bomb)


def test_too_many_bytes() -> None:
    with pytest.raises(ImageTooLargeError, match="at most 100"):
        decode_image(pictures.jpeg(), limits=DecodeLimits(max_bytes=100))


@pytest.mark.parametrize(
    "data",
    [
        pictures.SVG,
        pictures.PDF,
        pictures.HTML,
        b"http://127.0.0.1/vase.jpg",
        b"/etc/passwd",
        b"\x80\x04\x95\x00",
        b"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x00crx isom",
        b"RIFF\0\0\0\0WAVE",
    ],
)
def test_other_content_is_unsupported(data: bytes) -> None:
    with pytest.raises(UnsupportedImageError, match="JPEG, PNG"):
        decode_image(data)


def test_nothing_at_all() -> None:
    with pytest.raises(CorruptImageError, match="empty"):
        decode_image(b"")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", sorted(FORMATS.keys() - {"animated gif", "16-bit rgb png"}))
def test_truncated_files_are_corrupt(name: str) -> None:
    whole = pictures.every_format(pictures.grainy())[name][0]
    for data in pictures.truncations(whole):
        with pytest.raises((CorruptImageError, UnsupportedImageError)):
            decode_image(data)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_damage_never_escapes_as_another_error(name: str, changes: list[tuple[float, int]]) -> None:
    data = bytearray(FORMATS[name][0])
    for place, value in changes:
        data[int(place * (len(data) - 1))] = value
    try:
        decoded = decode_image(bytes(data), longest_side=224)
    except ImageError:
        return
    assert decoded.pixels.mode == "RGB"
