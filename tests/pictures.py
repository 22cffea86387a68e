"""Pictures for tests, good and bad, made from nothing."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 96, 64


def scene(width: int = WIDTH, height: int = HEIGHT, colour: str = "red") -> Image.Image:
    """A bright patch in the upper left on a coloured ground, so that orientation shows."""
    image = Image.new("RGB", (width, height), colour)
    patch = Image.new("RGB", (width // 3, height // 3), "white")
    image.paste(patch, (width // 10, height // 10))
    return image


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(image: Image.Image | None = None, **options: object) -> bytes:
    return encode(image or scene(), "JPEG", **{"quality": 92, **options})


def rotated_jpeg(orientation: int) -> bytes:
    """A JPEG whose stored pixels become `scene()` when its EXIF orientation is applied."""
    undo: dict[int, Callable[[Image.Image], Image.Image]] = {
        1: lambda image: image,
        2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
        4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
        6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
        7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
        8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    return jpeg(undo[orientation](scene()), exif=exif.tobytes(), subsampling=0, quality=98)


def animated_gif() -> bytes:
    frames = [scene(colour=colour) for colour in ("red", "green", "blue")]
    return encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50)


def grey_16_bit() -> bytes:
    """A PNG of 16-bit greys, two thirds bright."""
    return encode(Image.fromarray(np.full((HEIGHT, WIDTH), 43690, dtype=np.uint16)), "PNG")


def rgb_16_bit_png() -> bytes:
    """A PNG of 16 bits a channel, pure red, which Pillow cannot write."""
    row = b"\0" + struct.pack(">HHH", 65535, 0, 0) * 8
    return png_of(8, 8, zlib.compress(row * 8), depth=16)


def png_of(width: int, height: int, data: bytes, depth: int = 8) -> bytes:
    """A PNG (RGB) with this header, whatever `data` holds."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def png_bomb() -> bytes:
    """A small file whose header declares 20000 x 20000 pixels."""
    return png_of(20_000, 20_000, zlib.compress(bytes(100_000)))


def jpeg_bomb() -> bytes:
    """A JPEG whose frame header has been changed to 20000 x 20000 pixels."""
    data = bytearray(jpeg())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 20_000, 20_000)
    return bytes(data)


def grainy() -> Image.Image:
    """A picture that compresses badly, so that cutting its file loses pixels."""
    grain = np.random.default_rng(5).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Image.fromarray(grain)


def tiff_of(
    samples: np.ndarray,
    bits: int,
    *,
    order: str = "<",
    photometric: int | None = None,
    sample_format: int = 1,
    deflate: bool = False,
    planar: bool = False,
    thumbnail_first: bool = False,
    **tags: tuple[int, ...],
) -> bytes:
    """A TIFF of any layout, which neither Pillow nor a program that people have can write.

    Args:
        samples: [height, width, channels]; integers where `bits` is no multiple of 8.
        bits: Of a sample.
        order: `<` or `>`.
        photometric: TIFF's; by default grey, RGB or CMYK by the number of channels.
        sample_format: TIFF's.
        deflate: Whether the strips are compressed.
        planar: Whether each channel is stored by itself.
        thumbnail_first: Whether a thumbnail's directory stands before the picture's.
        **tags: Further tags of 16-bit numbers, as `tag_338=(2,)`.
    """
    height, width, channels = samples.shape
    planes = np.moveaxis(samples, 2, 0)[..., None] if planar else samples[None]
    rows = [plane.reshape(height, -1) for plane in planes]
    if bits % 8:
        strips = [
            np.packbits((row[..., None] >> np.arange(bits)[::-1] & 1).reshape(height, -1), axis=1)
            for row in rows
        ]
    else:
        kind = {1: "u", 2: "i", 3: "f"}[sample_format]
        strips = [row.astype(f"{order}{kind}{bits // 8}") for row in rows]
    contents = [strip.tobytes() for strip in strips]
    if deflate:
        contents = [zlib.compress(content) for content in contents]
    entries: dict[int, tuple[int, ...]] = {
        **{254: (0,), 256: (width,), 257: (height,), 258: (bits,) * channels},
        **{259: (8 if deflate else 1,), 277: (channels,), 278: (height,)},
        **{262: (photometric if photometric is not None else {3: 2, 4: 5}.get(channels, 1),)},
        **{284: (2 if planar else 1,), 339: (sample_format,) * channels},
        **{int(name.removeprefix("tag_")): value for name, value in tags.items()},
    }
    place, data = 8, b""
    offsets = []
    for content in contents:
        offsets.append(place + len(data))
        data += content + bytes(len(content) % 2)
    entries |= {273: tuple(offsets), 279: tuple(map(len, contents))}
    first = directory = place + len(data)
    if thumbnail_first:
        small = {**dict.fromkeys((256, 257), (8,)), 254: (1,), 258: (8,), 259: (1,), 262: (1,)}
        small |= {273: (8,), 277: (1,), 278: (8,), 279: (64,)}
        table = tiff_directory(small, first, order, link=True)
        data, directory = data + table, first + len(table)
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, first)
    return head + data + tiff_directory(entries, directory, order)


def tiff_directory(
    entries: dict[int, tuple[int, ...]], place: int, order: str, *, link: bool = False
) -> bytes:
    """A TIFF directory that stands at `place`; `link` names the place after it as the next."""
    after = place + 2 + 12 * len(entries) + 4
    table, values = [struct.pack(order + "H", len(entries))], b""
    for tag, numbers in sorted(entries.items()):
        wide = tag in (273, 279)
        content = struct.pack(f"{order}{len(numbers)}{'I' if wide else 'H'}", *numbers)
        if len(content) > 4:
            values, content = values + content, struct.pack(order + "I", after + len(values))
        head = struct.pack(order + "HHI", tag, 4 if wide else 3, len(numbers))
        table.append(head + content.ljust(4, b"\0"))
    end = struct.pack(order + "I", after + len(values) if link else 0)
    return b"".join([*table, end, values])


def every_format(image: Image.Image | None = None) -> dict[str, tuple[bytes, str]]:
    """Name to content and the format that it is; by default the picture is mostly red."""
    image = image or scene()
    palette = image.convert("P", palette=Image.Palette.ADAPTIVE)
    alpha = image.convert("RGBA")
    return {
        "jpeg": (jpeg(image), "JPEG"),
        "progressive jpeg": (jpeg(image, progressive=True), "JPEG"),
        "cmyk jpeg": (jpeg(image.convert("CMYK")), "JPEG"),
        "png": (encode(image, "PNG"), "PNG"),
        "palette png": (encode(palette, "PNG"), "PNG"),
        "rgba png": (encode(alpha, "PNG"), "PNG"),
        "16-bit rgb png": (rgb_16_bit_png(), "PNG"),
        "webp": (encode(image, "WEBP"), "WEBP"),
        "lossless webp": (encode(alpha, "WEBP", lossless=True), "WEBP"),
        "tiff": (encode(image, "TIFF"), "TIFF"),
        "deflated tiff": (encode(image, "TIFF", compression="tiff_deflate"), "TIFF"),
        "bmp": (encode(image, "BMP"), "BMP"),
        "gif": (encode(image, "GIF"), "GIF"),
        "animated gif": (animated_gif(), "GIF"),
        "avif": (encode(image, "AVIF"), "AVIF"),
        "heic": (heic("scene"), "HEIC"),
    }


HEIC_FOLDER = Path(__file__).parent / "heic"


def heic(name: str) -> bytes:
    """One of the HEIC files made by `tests/heic/README.md`; no encoder is installed here."""
    return (HEIC_FOLDER / f"{name}.heic").read_bytes()


def truncations(data: bytes, count: int = 10) -> list[bytes]:
    """`data` cut off at `count` places, the first after a few bytes, the last before the end."""
    return [data[: max(4, len(data) * (i + 1) // (count + 2))] for i in range(count)]


SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><rect width="9"/></svg>'
PDF = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n"
HTML = b"<!doctype html><title>Vase</title><img src='http://127.0.0.1/vase.jpg'>"
