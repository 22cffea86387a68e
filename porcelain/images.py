"""The one place where bytes become pixels: sniffing, limits, decoding, upright RGB.

Content decides, never a name or a declared type. JPEGs are decoded at a reduced scale inside the
inverse DCT (libjpeg's 1/2, 1/4, 1/8), so that a 12-megapixel photograph costs little more than
the pixels the model will see.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from porcelain.colour import to_srgb
from porcelain.errors import (
    CorruptImageError,
    ImageError,
    ImageTooLargeError,
    UnsupportedImageError,
)
from porcelain.image_containers import without_metadata
from porcelain.image_formats import FORMATS, foreign_name, sniff, titles
from porcelain.tiff import main_directory, orientation, single_picture
from porcelain.tiff_samples import Layout, decode_samples

__all__ = [
    "DEFAULT_LIMITS",
    "FORMATS",
    "DecodeLimits",
    "DecodedImage",
    "decode_image",
    "read_picture",
    "sniff",
    "to_rgb",
]

_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture of each EXIF orientation upright (EXIF 2.32, tag Orientation)."""
_QUARTER_TURNS: Final = (5, 6, 7, 8)
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=[\"']|>)([1-8])\b")
_HEIC_METADATA = re.compile(rb"(\x00\x00..)cdsc", re.DOTALL)  # ISO 23008-12, 9.2.2
_SEQUENCES: Final = (b"msf1", b"hevc", b"hevx", b"hevm", b"hevs")
_BYTES_PER_PIXEL: Final = 4
"""Of a TIFF's samples unpacked, for each pixel that the limit allows."""
# How Pillow's decoders begin their refusals of layouts that they know and do not read.
_UNREAD = re.compile(r"^(?:unsupported|unknown (?:pixel )?mode|cannot handle)", re.IGNORECASE)


@dataclass(frozen=True)
class DecodeLimits:
    """Bounds that are checked before any pixel is decoded.

    Attributes:
        max_bytes: Most bytes of one encoded picture.
        max_pixels: Most pixels (width x height) that its header may declare.
    """

    max_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 64_000_000


DEFAULT_LIMITS = DecodeLimits()


@dataclass(frozen=True)
class DecodedImage:
    """An upright RGB picture, perhaps at reduced scale.

    Attributes:
        pixels: Pillow image in mode RGB.
        width: Upright width in pixels, as stored in the file, before any reduction.
        height: Upright height likewise.
        format: One of `FORMATS`.
    """

    pixels: Image.Image
    width: int
    height: int
    format: str


def read_picture(path: Path, limits: DecodeLimits = DEFAULT_LIMITS) -> bytes:
    """The content of a picture file, of which no more is held than the limit allows.

    Raises:
        ImageTooLargeError: It has more bytes than `limits` allow.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(limits.max_bytes + 1)
    if len(data) > limits.max_bytes:
        raise _too_many_bytes(path.stat().st_size, limits)
    return data


def decode_image(
    data: bytes, *, longest_side: int | None = None, limits: DecodeLimits = DEFAULT_LIMITS
) -> DecodedImage:
    """Decode one picture to upright RGB; transparency is laid over white.

    Of an animation the first frame is taken, of a HEIC its primary picture, of a TIFF its first
    that is no thumbnail. Colours in an embedded ICC profile are converted to sRGB. Samples of
    more than 8 bits are scaled from their true range. Text, EXIF and profiles that make no sense
    are passed over.

    Args:
        data: The encoded picture.
        longest_side: If given, a JPEG may come back smaller, with its longest side at least this
            many pixels. None decodes at full size.
        limits: Bounds checked before decoding.

    Raises:
        ImageTooLargeError: More bytes or declared pixels than `limits` allow.
        UnsupportedImageError: Not in one of `FORMATS`, or in a layout that we do not read.
        CorruptImageError: The content is empty, damaged or ends too early.
    """
    if not data:
        raise CorruptImageError("The picture is empty (0 bytes); send the file's content.")
    if len(data) > limits.max_bytes:
        raise _too_many_bytes(len(data), limits)
    kind = sniff(data)
    if kind is None:
        name = foreign_name(data)
        what = f"The content is {name}, which is not" if name else "The content is not"
        raise UnsupportedImageError(f"{what} an image format we read; send {titles('or')}.")
    try:
        return _decode(data, kind, longest_side, limits)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError(
            f"The picture has far more than {limits.max_pixels:,} pixels; send a smaller one."
        ) from error
    except MemoryError as error:
        raise ImageTooLargeError("The picture needs more memory than there is.") from error
    # Pillow's decoders raise nearly every built-in exception on hostile bytes.
    except Exception as error:
        if _UNREAD.match(str(error)):
            raise UnsupportedImageError(
                f"The {kind}'s layout is not one we read ({_brief(error)}); save it as 8-bit RGB."
            ) from error
        raise CorruptImageError(
            f"The {kind} data is corrupt or truncated ({_brief(error)}); send the whole file."
        ) from error


def _decode(data: bytes, kind: str, longest_side: int | None, limits: DecodeLimits) -> DecodedImage:
    if kind == "HEIC":
        image, turn = _decode_heic(data, limits), 1
        size = image.size
    elif kind == "TIFF":
        image, turn = _decode_tiff(data, limits)
        size = image.size
    else:
        content = without_metadata(data, kind)
        image = _open(content.data, kind, limits)
        size = image.size
        if kind == "JPEG" and longest_side is not None and max(size) > longest_side:
            scale = longest_side / max(size)
            image.draft(None, (max(1, int(size[0] * scale)), max(1, int(size[1] * scale))))
        image.load()
        turn = orientation(content.exif) if content.exif else _stated_turn(image)
        if content.profile:
            image.info["icc_profile"] = content.profile
    upright = to_rgb(image)
    if turn in _TURNS:
        upright = upright.transpose(_TURNS[turn])
    if turn in _QUARTER_TURNS:
        size = size[1], size[0]
    return DecodedImage(upright, *size, kind)


def _open(data: bytes, kind: str, limits: DecodeLimits) -> Image.Image:
    image: Image.Image = Image.open(io.BytesIO(data), formats=[kind])
    _check_pixels(image.size, limits)
    return image


def _decode_heic(data: bytes, limits: DecodeLimits) -> Image.Image:
    """The primary picture; libheif turns it upright and lays an alpha channel beside it."""
    import pi_heif  # a shared library that most processes never need

    try:
        # Without the links to its metadata, whose damage ends the process in pi-heif 1.4.
        file = pi_heif.open_heif(_HEIC_METADATA.sub(rb"\1free", data))
        picture = file[file.primary_index]
        _check_pixels(picture.size, limits)
        image = Image.frombytes(
            picture.mode, picture.size, picture.data, "raw", picture.mode, picture.stride
        )
    except (SyntaxError, IndexError, ValueError) as error:
        # A sequence (ISO 23008-12, 7) may hold frames alone, and no picture to stand for them.
        if isinstance(error, ValueError) and data[8:12] not in _SEQUENCES:
            raise
        raise UnsupportedImageError(
            f"The HEIC holds no picture that we read ({_brief(error)}); send it as JPEG."
        ) from error
    image.info["icc_profile"] = picture.info.get("icc_profile")
    return image


def _decode_tiff(data: bytes, limits: DecodeLimits) -> tuple[Image.Image, int]:
    """The picture and its orientation; by Pillow where it reads the layout as it is meant."""
    directory = main_directory(data)
    layout = Layout.read(directory)
    _check_pixels((layout.width, layout.height), limits)
    if not layout.compression_known:
        raise layout.unsupported()
    if layout.pillow_reads:
        try:
            image = _open(single_picture(data, directory), "TIFF", limits)
        except UnidentifiedImageError:
            pass  # a layout that Pillow does not know
        else:
            image.load()
            return image, layout.turn
    image, alpha = decode_samples(data, layout, _BYTES_PER_PIXEL * limits.max_pixels)
    if alpha is not None:
        image, colour = Image.new("RGB", image.size, "white"), to_srgb(image, layout.profile)
        image.paste(colour, mask=alpha)
    elif layout.profile:
        image.info["icc_profile"] = layout.profile
    return image, layout.turn


def _check_pixels(size: tuple[int, int], limits: DecodeLimits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        raise ImageTooLargeError(
            f"The picture has {width}x{height} pixels; at most {limits.max_pixels:,} are accepted."
        )
    if width <= 0 or height <= 0:
        raise CorruptImageError(f"The picture has {width}x{height} pixels; send the whole file.")


def _stated_turn(image: Image.Image) -> int:
    """The orientation that EXIF states, or XMP where there is no EXIF."""
    exif, xmp = image.info.get("exif"), image.info.get("xmp")
    if isinstance(exif, bytes) and exif:
        return orientation(exif)
    found = _XMP_ORIENTATION.search(xmp) if isinstance(xmp, bytes) else None
    return int(found[1]) if found else 1


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any Pillow mode to 8-bit sRGB, transparency over white.

    Raises:
        UnsupportedImageError: A mode that has no conversion.
    """
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I"):
        image = _grey_to_8_bits(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        opaque = Image.new("RGB", image.size, "white")
        opaque.paste(rgba, mask=rgba.getchannel("A"))
        return to_srgb(opaque, image.info.get("icc_profile"))
    if image.mode in ("RGB", "L", "CMYK"):
        return to_srgb(image, image.info.get("icc_profile"))
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise UnsupportedImageError(
            f"The colour mode {image.mode} cannot be converted; save it as RGB."
        ) from error


def _grey_to_8_bits(image: Image.Image) -> Image.Image:
    """Greys of 16 bits, which Pillow holds in several modes, some of them of 32."""
    values = np.asarray(image).astype(np.float32)
    values *= 255.0 / max(65535.0, float(values.max(initial=0.0)))
    return Image.fromarray((np.clip(values, 0.0, 255.0) + 0.5).astype(np.uint8))


def _too_many_bytes(size: int, limits: DecodeLimits) -> ImageTooLargeError:
    return ImageTooLargeError(
        f"The picture has {size:,} bytes; at most {limits.max_bytes:,} are accepted."
    )


def _brief(error: Exception) -> str:
    text = str(error).split("<", maxsplit=1)[0].strip().rstrip(".")
    return text[:80] or type(error).__name__
