"""The picture formats: the one table of their names, file endings and media types.

Whatever lists picture formats (what a service takes, what a folder walk picks up, what a file is
called, what a page offers) takes them from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class ImageFormat:
    """One format that we read.

    Attributes:
        name: As Pillow and `DecodedImage.format` write it.
        title: As people write it.
        suffixes: File name endings in lower case; the first is given to files that we name.
        media_types: IANA media types; the first is the one we answer with.
        brands: For ISO base media files, the `ftyp` brands that announce it.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    media_types: tuple[str, ...]
    brands: tuple[bytes, ...] = ()

    @property
    def suffix(self) -> str:
        """The ending that we give."""
        return self.suffixes[0]

    @property
    def media_type(self) -> str:
        """The media type that we give."""
        return self.media_types[0]


_AVIF_BRANDS: Final = (b"avif", b"avis")
_HEIC_BRANDS: Final = (
    *(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"),
    *(b"mif1", b"mif2", b"msf1"),
)

IMAGE_FORMATS: Final[dict[str, ImageFormat]] = {
    one.name: one
    for one in (
        ImageFormat("JPEG", "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), ("image/jpeg",)),
        ImageFormat("PNG", "PNG", (".png",), ("image/png",)),
        ImageFormat("WEBP", "WebP", (".webp",), ("image/webp",)),
        ImageFormat("TIFF", "TIFF", (".tif", ".tiff"), ("image/tiff",)),
        ImageFormat("BMP", "BMP", (".bmp", ".dib"), ("image/bmp", "image/x-ms-bmp")),
        ImageFormat("GIF", "GIF", (".gif",), ("image/gif",)),
        ImageFormat("AVIF", "AVIF", (".avif",), ("image/avif",), _AVIF_BRANDS),
        ImageFormat(
            "HEIC",
            "HEIC",
            (".heic", ".heif", ".hif"),
            ("image/heic", "image/heif", "image/heic-sequence", "image/heif-sequence"),
            _HEIC_BRANDS,
        ),
    )
}
"""By name. AVIF stands before HEIC, whose brands (`mif1`) AVIF files carry too."""

FORMATS: Final[tuple[str, ...]] = tuple(IMAGE_FORMATS)
IMAGE_SUFFIXES: Final = frozenset(s for one in IMAGE_FORMATS.values() for s in one.suffixes)
MEDIA_TYPES: Final = tuple(t for one in IMAGE_FORMATS.values() for t in one.media_types)

BROWSER_ACCEPT: Final = ",".join(("image/*", *sorted(IMAGE_SUFFIXES)))
"""For a page's `<input accept>`: several browsers do not count HEIC and TIFF as `image/*`."""

_SIGNATURES: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
)

_OTHERS: Final = (
    (b"FUJIFILMCCD-RAW", "camera raw (Fujifilm RAF)"),
    (b"IIRO", "camera raw (Olympus ORF)"),
    (b"IIRS", "camera raw (Olympus ORF)"),
    (b"MMOR", "camera raw (Olympus ORF)"),
    (b"IIU\0", "camera raw (Panasonic RW2)"),
    (b"FOVb", "camera raw (Sigma X3F)"),
    (b"\0MRM", "camera raw (Minolta MRW)"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"8BPS", "Photoshop (PSD)"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"%PDF", "PDF"),
    (b"%!PS", "PostScript"),
    (b"<svg", "SVG"),
    (b"\0\0\x01\0", "ICO"),
    (b"PK\x03\x04", "ZIP archive"),
)
"""What people send that we do not read, so that a refusal can call it by its name."""


def sniff(data: bytes) -> str | None:
    """The format that the first bytes announce, or None if it is none of `FORMATS`.

    Args:
        data: The content, of which the first 256 bytes decide.
    """
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    brands = _brands(data)
    for one in IMAGE_FORMATS.values():
        if not brands.isdisjoint(one.brands):
            return one.name
    return None


def foreign_name(data: bytes) -> str | None:
    """What content that `sniff` does not know is, where it can be told: "PDF", "JPEG 2000"."""
    head = data[:256]
    for signature, name in _OTHERS:
        if head.startswith(signature):
            return name
    if head[6:14] == b"HEAPCCDR":
        return "camera raw (Canon CRW)"
    if b"<svg" in head.lower():
        return "SVG"
    brands = _brands(data)
    if b"crx " in brands:
        return "camera raw (Canon CR3)"
    return "video" if brands else None


def titles(last: str = "and") -> str:
    """The formats as a sentence lists them: "JPEG, PNG, … and HEIC"."""
    *most, end = (one.title for one in IMAGE_FORMATS.values())
    return f"{', '.join(most)} {last} {end}"


def _brands(data: bytes) -> set[bytes]:
    """The brands of an ISO base media file (ISO 14496-12): the major one, then compatible ones."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4], "big"), 256)
    return {data[8:12], *(data[i : i + 4] for i in range(16, end, 4))}
