"""The one place where bytes become pixels: sniffing, limits, decoding, upright RGB.

Content decides, never a name or a declared type. JPEGs are decoded at a reduced scale inside the
inverse DCT (libjpeg's 1/2, 1/4, 1/8), so that a 12-megapixel photograph costs little more than
the pixels the model will see.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from porcelain.colour import to_srgb
from porcelain.errors import CorruptImageError, ImageTooLargeError, UnsupportedImageError

FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")
_AVIF_BRANDS = (b"avif", b"avis")
_ORIENTATION = 0x0112  # EXIF 2.32, tag Orientation


@dataclass(frozen=True)
class DecodeLimits:
    """Bounds that are checked before any pixel is decoded.

    Attributes:
        max_bytes: Most bytes of one encoded picture.
        max_pixels: Most pixels (width x height) that its header may declare.
    """

    max_bytes: int = 32 * 1024 * 1024
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


def sniff(data: bytes) -> str | None:
    """The format that the first bytes announce, or None if it is none of `FORMATS`."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[:2] == b"BM":
        return "BMP"
    if data[4:8] == b"ftyp":
        # ISO 14496-12: the major brand, then (after a version) the compatible ones.
        end = min(int.from_bytes(data[:4], "big"), 256)
        brands = {data[8:12], *(data[i : i + 4] for i in range(16, end, 4))}
        if any(brand in brands for brand in _AVIF_BRANDS):
            return "AVIF"
    return None


def decode_image(
    data: bytes, *, longest_side: int | None = None, limits: DecodeLimits = DEFAULT_LIMITS
) -> DecodedImage:
    """Decode one picture to upright RGB; transparency is laid over white.

    Of an animation the first frame is taken. Colours in an embedded ICC profile are converted to
    sRGB. 16-bit and floating-point greys are scaled to 8 bits.

    Args:
        data: The encoded picture.
        longest_side: If given, a JPEG may come back smaller, with its longest side at least this
            many pixels. None decodes at full size.
        limits: Bounds checked before decoding.

    Raises:
        ImageTooLargeError: More bytes or declared pixels than `limits` allow.
        UnsupportedImageError: Not in one of `FORMATS`.
        CorruptImageError: The content is empty, damaged or ends too early.
    """
    if not data:
        raise CorruptImageError("The picture is empty (0 bytes); send the file's content.")
    if len(data) > limits.max_bytes:
        raise ImageTooLargeError(
            f"The picture has {len(data):,} bytes; at most {limits.max_bytes:,} are accepted."
        )
    kind = sniff(data)
    if kind is None:
        raise UnsupportedImageError(
            "The content is not an image format we read; send one of " + ", ".join(FORMATS) + "."
        )
    try:
        return _decode(data, kind, longest_side, limits)
    except (ImageTooLargeError, CorruptImageError):
        raise
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError(
            f"The picture has far more than {limits.max_pixels:,} pixels; send a smaller one."
        ) from error
    except MemoryError as error:
        raise ImageTooLargeError("The picture needs more memory than there is.") from error
    # Pillow's decoders raise nearly every built-in exception on hostile bytes.
    except Exception as error:
        raise CorruptImageError(
            f"The {kind} data is corrupt or truncated ({_brief(error)}); send the whole file."
        ) from error


def _decode(data: bytes, kind: str, longest_side: int | None, limits: DecodeLimits) -> DecodedImage:
    image: Image.Image = Image.open(io.BytesIO(data), formats=[kind])
    width, height = image.size
    if width * height > limits.max_pixels:
        raise ImageTooLargeError(
            f"The picture has {width}x{height} pixels; at most {limits.max_pixels:,} are accepted."
        )
    if kind == "JPEG" and longest_side is not None and max(width, height) > longest_side:
        scale = longest_side / max(width, height)
        image.draft(None, (max(1, int(width * scale)), max(1, int(height * scale))))
    image.load()
    orientation = image.getexif().get(_ORIENTATION, 1)
    upright = to_rgb(image)
    if orientation in range(2, 9):
        upright.getexif()[_ORIENTATION] = orientation
        ImageOps.exif_transpose(upright, in_place=True)
        if orientation >= 5:  # quarter turns
            width, height = height, width
    return DecodedImage(upright, width, height, kind)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any Pillow mode to 8-bit sRGB, transparency over white.

    Raises:
        CorruptImageError: A mode that has no conversion.
    """
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I", "F"):
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
        raise CorruptImageError(
            f"The colour mode {image.mode} cannot be converted; save it as RGB."
        ) from error


def _grey_to_8_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.float32)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    largest = float(values.max(initial=0.0))
    if image.mode == "F":
        white = 1.0 if largest <= 1.0 else 255.0 if largest <= 255.0 else largest
    else:
        white = 65535.0 if largest <= 65535.0 else largest
    return Image.fromarray((np.clip(values / white, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8))


def _brief(error: Exception) -> str:
    text = str(error).split("<", maxsplit=1)[0].strip().rstrip(".")
    return text[:80] or type(error).__name__
