"""Pictures as people have them: what Pillow alone reads wrongly, refuses, or takes minutes for."""

from __future__ import annotations

import io
import resource
import struct
import time
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageCms

from porcelain.errors import (
    CorruptImageError,
    ImageError,
    ImageTooLargeError,
    UnsupportedImageError,
)
from porcelain.image_formats import IMAGE_FORMATS, IMAGE_SUFFIXES, titles
from porcelain.images import DecodedImage, DecodeLimits, decode_image, read_picture
from porcelain.verification import examine
from tests import pictures

SHAPE = (33, 47)  # no multiple of 8, so that packed rows end within a byte


def gradient(channels: int) -> np.ndarray:
    """Values from 0 to 1, other ones in each channel: [height, width, channels]."""
    height, width = SHAPE
    across = np.linspace(0, 1, width)[None, :, None]
    down = np.linspace(0, 1, height)[:, None, None]
    weights = np.linspace(0.2, 0.8, channels)
    return across * weights + down * (1 - weights)


def error_of(data: bytes, expected: np.ndarray) -> float:
    """The largest difference in grey levels of 255."""
    decoded = np.asarray(decode_image(data).pixels).astype(float)
    wanted = np.broadcast_to(expected * 255, (*SHAPE, 3))
    return float(np.abs(decoded - wanted).max())


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", [9, 10, 12, 14])
def test_tiffs_of_odd_bits_have_their_true_range(
    bits: int, channels: int, order: str, planar: bool, deflate: bool
) -> None:
    values = gradient(channels)
    samples = np.round(values * (2**bits - 1)).astype(np.uint32)
    data = pictures.tiff_of(samples, bits, order=order, planar=planar, deflate=deflate)
    assert error_of(data, values) < 1


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("tags", [{"tag_341": (1023,)}, {"tag_281": (1023,)}])
def test_ten_bits_in_a_container_of_sixteen(
    tags: dict[str, tuple[int, ...]], channels: int, order: str
) -> None:
    values = gradient(channels)
    samples = np.round(values * 1023).astype(np.uint16)
    assert error_of(pictures.tiff_of(samples, 16, order=order, **tags), values) < 1


def test_the_largest_sample_of_a_dark_picture_is_no_range() -> None:
    dark = gradient(1) * 0.1
    samples = np.round(dark * 65535).astype(np.uint16)
    data = pictures.tiff_of(samples, 16, tag_281=(int(samples.max()),))
    assert error_of(data, dark) < 1.5


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("bits", "sample_format", "top"),
    [
        *[(16, 3, 1.0), (32, 3, 1.0), (64, 3, 1.0), (32, 3, 255.0)],
        *[(16, 1, 65535.0), (32, 1, 2.0**32 - 1), (16, 2, 32767.0)],
    ],
)
def test_tiffs_of_every_kind_of_number(
    bits: int, sample_format: int, top: float, channels: int, order: str, planar: bool
) -> None:
    values = gradient(channels)
    data = pictures.tiff_of(
        values * top, bits, sample_format=sample_format, order=order, planar=planar
    )
    assert error_of(data, values) < 1.5


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_inverted_greys_of_any_depth(bits: int) -> None:
    values = gradient(1)
    samples = np.round((1 - values) * (2**bits - 1)).astype(np.uint32)
    assert error_of(pictures.tiff_of(samples, bits, photometric=0), values) < 1


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("extra", [0, 2])
def test_cmyk_with_alpha(bits: int, extra: int) -> None:
    ink = np.zeros((*SHAPE, 5))
    ink[..., 1] = ink[..., 2] = 1  # magenta and yellow: red
    ink[:, :20, 4] = 1
    data = pictures.tiff_of(np.round(ink * (2**bits - 1)), bits, photometric=5, tag_338=(extra,))
    pixels = np.asarray(decode_image(data).pixels)
    assert pixels[5, 5].tolist() == [255, 0, 0]
    assert pixels[5, 40].tolist() == ([255, 255, 255] if extra else [255, 0, 0])


@pytest.mark.filterwarnings("error")
def test_a_large_tiff_of_floating_point_is_read() -> None:
    zeros = np.zeros((4000, 5000, 3), np.float32)  # 240 MB, unpacked from 233 KB
    data = pictures.tiff_of(zeros, 32, sample_format=3, deflate=True)
    assert decode_image(data).pixels.size == (5000, 4000)


def test_samples_of_more_bytes_than_the_limit_are_too_large() -> None:
    data = pictures.tiff_of(np.zeros((50, 50, 3)), 64, sample_format=3, deflate=True)
    with pytest.raises(ImageTooLargeError, match="50x50, 64-bit floating-point RGB"):
        decode_image(data, limits=DecodeLimits(max_pixels=2500))


def test_values_that_are_no_numbers_are_black_and_white() -> None:
    values = np.repeat(gradient(1), 3, axis=2)
    values[0, 0], values[0, 1], values[0, 2] = np.nan, np.inf, -np.inf
    pixels = np.asarray(decode_image(pictures.tiff_of(values, 32, sample_format=3)).pixels)
    assert pixels[0, :3, 0].tolist() == [0, 255, 0]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (pictures.tiff_of(gradient(1) * 9, 64, sample_format=3, photometric=8), "64-bit floating"),
        (pictures.tiff_of(gradient(3), 32, sample_format=3, tag_259=(7,)), "RGB, JPEG"),
        (pictures.tiff_of(gradient(3) * 9, 16, tag_259=(34712,)), "JPEG 2000"),
        (pictures.tiff_of((gradient(1) * 9).astype(int), 12, tag_317=(2,)), "predictor 2"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40), "JPEG 2000"),
        (b"8BPS\0\1" + bytes(40), "Photoshop"),
        (b"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01crx isom" + bytes(40), "camera raw"),
        (b"IIRO\x08\0\0\0" + bytes(40), "Olympus"),
        (b"FUJIFILMCCD-RAW 0201" + bytes(40), "Fujifilm"),
    ],
)
def test_what_is_not_read_is_named(data: bytes, words: str) -> None:
    with pytest.raises(UnsupportedImageError, match=words) as raised:
        decode_image(data)
    assert raised.value.status == 415


@pytest.mark.parametrize("tag", ["tag_50706", "tag_262"])
def test_camera_raw_is_not_answered_from_its_thumbnail(tag: str) -> None:
    raw = {"tag_50706": (0x0401, 0), "tag_262": (32803,)}[tag]
    data = pictures.tiff_of(gradient(1) * 4095, 16, thumbnail_first=tag == "tag_262", **{tag: raw})
    with pytest.raises(UnsupportedImageError, match="camera raw"):
        decode_image(data)


@pytest.mark.parametrize("bits", [8, 12])
def test_a_thumbnail_before_the_picture_is_passed_over(bits: int) -> None:
    values = gradient(3)
    samples = np.round(values * (2**bits - 1)).astype(np.uint32)
    data = pictures.tiff_of(samples, bits, thumbnail_first=True)
    assert error_of(data, values) < 1


@pytest.mark.parametrize("bits", [8, 12])
def test_a_tiff_is_turned_upright(bits: int) -> None:
    values = gradient(3)
    samples = np.rot90(np.round(values * (2**bits - 1)).astype(np.uint32))
    data = pictures.tiff_of(samples, bits, tag_274=(6,))
    assert error_of(data, values) < 1


@pytest.mark.parametrize("name", ["scene", "turned", "several", "ten_bits", "grey", "clear"])
def test_heic_is_decoded(name: str) -> None:
    decoded = decode_image(pictures.heic(name))
    pixels = np.asarray(decoded.pixels)
    assert (decoded.format, decoded.width, decoded.height) == ("HEIC", 96, 64)
    corner = {"grey": [76, 76, 76], "clear": [255, 255, 255]}.get(name, [255, 0, 0])
    assert np.abs(pixels[-4:, -4:].astype(int) - corner).max() <= 4
    assert pixels[10:20, 15:30].min() > 250  # the bright patch, upper left


def test_heic_is_held_to_the_pixel_limit() -> None:
    with pytest.raises(ImageTooLargeError, match="96x64"):
        decode_image(pictures.heic("scene"), limits=DecodeLimits(max_pixels=6143))


def test_heic_with_another_codec_is_named() -> None:
    data = pictures.heic("scene").replace(b"hvc1", b"vvc1")
    with pytest.raises((UnsupportedImageError, CorruptImageError), match="HEIC"):
        decode_image(data)


def test_damaged_metadata_of_a_heic_does_not_end_the_process() -> None:
    data = pictures.heic("turned").replace(b"Exif", b"Ex\xc6f", 1)
    assert decode_image(data).pixels.size == (96, 64)


def test_a_sequence_without_a_picture_is_named() -> None:
    data = pictures.heic("scene")
    frames = data[:8] + b"msf1" + data[12:].replace(b"pitm", b"free")
    with pytest.raises(UnsupportedImageError, match="HEIC holds no picture"):
        decode_image(frames)


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    """The scene as PNG, with these chunks after its header."""
    whole = pictures.encode(pictures.scene(), "PNG")
    return whole[:33] + b"".join(map(_chunk, chunks)) + whole[33:]


def _chunk(one: tuple[bytes, bytes]) -> bytes:
    kind, content = one
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


XMP = b"XML:com.adobe.xmp\0%c\0\0\0"
MUCH = bytes(3_000_000)


@pytest.mark.parametrize(
    "chunk",
    [
        (b"iTXt", XMP % 1 + zlib.compress(MUCH)),
        (b"iTXt", XMP % 0 + MUCH),
        (b"zTXt", b"Comment\0\0" + zlib.compress(MUCH)),
        (b"zTXt", b"Comment\0\0 no deflated text"),
        (b"iTXt", b"no end"),
        (b"tEXt", b"Comment\0" + MUCH),
        (b"iCCP", b"profile\0\0" + zlib.compress(MUCH)),
        (b"iCCP", b"profile\0\0" + zlib.compress(bytes(9_000_000))),
        (b"iCCP", b"profile\0\0 no deflated profile"),
        (b"eXIf", b"junk"),
        (b"eXIf", b"II*\0\xff\xff\xff\x7f"),
        (b"eXIf", b"MM\0*\0\0\0\x08\xff\xff" + bytes(range(200))),
        (b"pHYs", b""),
        (b"gAMA", b"\0"),
        (b"acTL", b"\0\0\0\1"),
    ],
)
def test_a_png_is_decoded_whatever_stands_beside_its_pixels(chunk: tuple[bytes, bytes]) -> None:
    assert decode_image(png_with(chunk)).pixels.tobytes() == pictures.scene().tobytes()


def test_a_profile_of_a_png_counts() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace("sRGB".encode("utf-16-be"), "Test".encode("utf-16-be"))
    tags = profile[:300].replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ")
    swapped = tags.replace(b"????", b"bXYZ") + profile[300:]
    large = swapped + np.random.default_rng(1).bytes(1_500_000)  # Pillow refuses more than 1 MB
    for one in (swapped, struct.pack(">I", len(large)) + large[4:]):
        data = png_with((b"iCCP", b"swapped\0\0" + zlib.compress(one)))
        red, _, blue = np.asarray(decode_image(data).pixels)[-1, -1].tolist()
        assert (red < 60, blue > 200) == (True, True)


def exif_of(entries: list[tuple[int, int, int, int]], order: str = "<") -> bytes:
    """An EXIF block with these entries: tag, type, count, value or place."""
    head = b"II*\0\x08\0\0\0" if order == "<" else b"MM\0*\0\0\0\x08"
    rows = [struct.pack(order + "HHII", *entry) for entry in entries]
    return head + struct.pack(order + "H", len(rows)) + b"".join(rows) + bytes(4)


JUNK_EXIF = {
    "no structure": b"junk",
    "a directory beyond the end": b"II*\0\xff\xff\xff\x7f",
    "a directory cut off": exif_of([(274, 3, 1, 6)])[:15],
    "values beyond the end": exif_of([(271, 2, 1 << 30, 1 << 30), (282, 5, 9, 0xFFFFFFF0)]),
    "an unknown type": exif_of([(274, 99, 1, 6)]),
    "no orientation of the eight": exif_of([(274, 3, 1, 77)]),
    "orientation as text": exif_of([(274, 2, 4, 0x36363636)]),
    "itself as sub-directory": exif_of([(34665, 4, 1, 8)]),
}


def encoded_with(kind: str, exif: bytes) -> bytes:
    if kind == "PNG":
        return png_with((b"eXIf", exif))
    return pictures.encode(pictures.scene(), kind, exif=b"Exif\0\0" + exif)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("name", JUNK_EXIF)
def test_junk_in_exif_counts_as_no_orientation(kind: str, name: str) -> None:
    decoded = decode_image(encoded_with(kind, JUNK_EXIF[name]))
    assert (decoded.width, decoded.height) == (pictures.WIDTH, pictures.HEIGHT)
    assert decoded.pixels.getpixel((15, 10))[1] > 240  # the bright patch


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_an_orientation_counts_in_every_format(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = pictures.scene().transpose(Image.Transpose.ROTATE_90)
    decoded = decode_image(pictures.encode(turned, kind, exif=exif.tobytes()))
    assert (decoded.width, decoded.height) == (pictures.WIDTH, pictures.HEIGHT)
    assert decoded.pixels.getpixel((15, 10))[1] > 240


def many_segments() -> bytes:
    return b"\xff\xd8" + b"\xff\xfe\0\2" * 3_000_000 + pictures.jpeg()[2:]


def filled() -> bytes:
    return b"\xff\xd8" + b"\xff" * 30_000_000 + pictures.jpeg()[3:]


def junk_between() -> bytes:
    return b"\xff\xd8" + b"\0" * 30_000_000 + pictures.jpeg()[2:]


def claims(count: int) -> bytes:
    """An EXIF block whose entries all claim the same large value."""
    block = exif_of([(1000 + i, 7, 40_000, 8) for i in range(count)])
    return block + bytes(max(0, 60_000 - len(block)))


def exif_bomb() -> bytes:
    segment = b"Exif\0\0" + claims(4000)
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + pictures.jpeg()[2:]


def avif_exif_bomb() -> bytes:
    return pictures.encode(pictures.scene(), "AVIF", exif=claims(4000) + bytes(2_000_000))


def progressive_bomb() -> bytes:
    """A large progressive JPEG, whose last scan comes 2000 times more."""
    data = pictures.jpeg(Image.new("RGB", (3000, 3000)), progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * 2000 + data[-2:]


def many_chunks() -> bytes:
    whole = pictures.encode(pictures.scene(), "PNG")
    return whole[:33] + _chunk((b"IDAT", b"")) * 1_000_000 + whole[33:]


def text_bombs() -> bytes:
    packed = zlib.compress(bytes(4_000_000), 9)
    return png_with(*[(b"zTXt", b"Comment\0\0" + packed)] * 300)


def many_blocks() -> bytes:
    data = pictures.encode(pictures.scene(), "GIF")
    return data[: data.index(b",")] + b"!\xfe\0" * 3_000_000 + data[data.index(b",") :]


def many_comments() -> bytes:
    data = pictures.encode(pictures.scene(), "GIF")
    comment = b"!\xfe\xff" + b"x" * 255 + b"\0"
    return data[: data.index(b",")] + comment * 40_000 + data[data.index(b",") :]


def tiff_bomb() -> bytes:
    """A TIFF whose directory claims the whole file thousands of times."""
    data = pictures.encode(pictures.scene(640, 480), "TIFF")
    entries = [(40_000 + i, 7, len(data) - 8, 8) for i in range(4000)]
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    first = struct.unpack("<I", data[4:8])[0]
    count = struct.unpack("<H", data[first : first + 2])[0]
    own = data[first + 2 : first + 2 + 12 * count]
    end = struct.pack("<H", count + len(entries)) + own + table + bytes(4)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + end


def many_directories() -> bytes:
    """A TIFF with a chain of a million directories."""
    data = pictures.encode(pictures.scene(), "TIFF")
    first = struct.unpack("<I", data[4:8])[0]
    count = struct.unpack("<H", data[first : first + 2])[0]
    link = first + 2 + 12 * count
    start = len(data)
    chain = b"".join(struct.pack("<HI", 0, start + 6 * i) for i in range(1, 1_000_000))
    return data[:link] + struct.pack("<I", start) + data[link + 4 :] + chain + bytes(6)


def many_strips() -> bytes:
    return pictures.tiff_of(np.zeros((1, 8, 1)), 8, tag_273=(8,) * 2_000_000)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of the encoder
@pytest.mark.parametrize(
    "hostile",
    [
        *[many_segments, filled, junk_between, exif_bomb, avif_exif_bomb, progressive_bomb],
        *[many_chunks, text_bombs, many_blocks, many_comments],
        *[tiff_bomb, many_directories, many_strips],
    ],
)
def test_no_hostile_picture_takes_long_or_much(hostile: Callable[[], bytes]) -> None:
    data = hostile()
    before = resource.getrusage(resource.RUSAGE_SELF)
    begun = before.ru_utime + before.ru_stime
    try:
        decoded: DecodedImage | None = decode_image(data)
        assert decoded is not None
        assert decoded.pixels.mode == "RGB"
    except ImageError:
        pass
    examine(data, pixels=False)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime + after.ru_stime - begun < 2
    assert after.ru_maxrss - before.ru_maxrss < 300 * 1024  # kilobytes


def test_a_picture_of_forty_megabytes_is_read() -> None:
    grain = np.random.default_rng(3).integers(0, 255, (3800, 3700, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grain).save(buffer, "TIFF")
    assert len(buffer.getvalue()) > 42_000_000
    assert decode_image(buffer.getvalue()).pixels.size == (3700, 3800)


def test_a_file_is_read_no_further_than_the_limit(tmp_path) -> None:
    path = tmp_path / "huge.tif"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a sparse terabyte
    begun = time.perf_counter()
    with pytest.raises(ImageTooLargeError, match="1,099,511,627,776 bytes; at most 67,108,864"):
        read_picture(path)
    assert time.perf_counter() - begun < 2


def test_the_table_of_formats_agrees_with_what_is_decoded() -> None:
    made = {kind for _, kind in pictures.every_format().values()}
    assert made == set(IMAGE_FORMATS)
    assert {".jpg", ".heic", ".heif", ".tif", ".tiff", ".avif", ".webp"} <= IMAGE_SUFFIXES
    assert titles() == "JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF and HEIC"
    everything = [suffix for one in IMAGE_FORMATS.values() for suffix in one.suffixes]
    assert len(everything) == len(set(everything))
