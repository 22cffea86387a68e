"""Pictures that say that a model made them, and how.

Every format carries one XMP packet with IPTC's properties for generated pictures; a PNG says the
same in text chunks too, which more viewers show. The pixels carry an invisible watermark, for when
metadata are lost. The bytes depend on pixels and provenance alone, unless they are signed: a
signature's manifest has an identifier and a moment of its own.

Sources: IPTC Photo Metadata Standard 2025.1 (DigitalSourceType, AISystemUsed,
AISystemVersionUsed, AIPromptInformation), XMP specification part 1 and 3.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Final, Literal, get_args
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from porcelain.content_credentials import Signing, sign_picture
from porcelain.image_formats import IMAGE_FORMATS
from porcelain.synthetic_mark import (
    SOURCE_TYPE_KEY,
    SYNTHETIC_SOURCE_TYPE,
    XMP_KEYWORD,
    xmp_packets,
)
from porcelain.watermark import embed_watermark

PictureFormat = Literal["png", "jpeg", "webp"]

MEDIA_TYPES: Final[dict[PictureFormat, str]] = {
    name: IMAGE_FORMATS[name.upper()].media_type for name in get_args(PictureFormat)
}
SUFFIXES: Final[dict[PictureFormat, str]] = {
    name: IMAGE_FORMATS[name.upper()].suffix for name in get_args(PictureFormat)
}
SYSTEM: Final = "porcelain"

_OPTIONS: Final[dict[PictureFormat, dict[str, object]]] = {
    "png": {"compress_level": 4},
    "jpeg": {"quality": 95, "subsampling": 0},
    "webp": {"quality": 95, "method": 4},
}
_IPTC: Final = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_OURS: Final = "urn:porcelain:provenance:1:"
_RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_PACKET: Final = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{rdf}">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="{iptc}" xmlns:porcelain="{ours}">
{properties}
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""
# What XML 1.0 cannot hold, however escaped.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Provenance:
    """How a picture was made: enough to make it again.

    Attributes:
        generator: The digest of the generator's bundle, or of the base model without one.
        prompt: What was asked for.
        seed: Of the picture's own random numbers.
        steps: Of the sampler.
        guidance_scale: Of classifier-free guidance.
    """

    generator: str
    prompt: str
    seed: int
    steps: int
    guidance_scale: float


def encode_synthetic(
    pixels: npt.NDArray[np.uint8],
    picture_format: PictureFormat,
    provenance: Provenance,
    signing: Signing | None = None,
) -> bytes:
    """Encode a generated picture with the watermark, the mark and its provenance.

    Args:
        pixels: RGB [height, width, 3].
        picture_format: `png` is lossless.
        provenance: How it was made.
        signing: Key and certificate of content credentials; None signs nothing.

    Raises:
        UserError: Key and certificate cannot sign.
    """
    packet = _packet(provenance)
    options = dict(_OPTIONS[picture_format])
    if picture_format == "png":
        options["pnginfo"] = _chunks(provenance, packet)
    else:
        options["xmp"] = packet.encode()
    buffer = io.BytesIO()
    Image.fromarray(embed_watermark(pixels)).save(buffer, picture_format, **options)
    if signing is None:
        return buffer.getvalue()
    return sign_picture(
        buffer.getvalue(), MEDIA_TYPES[picture_format], signing, provenance.generator
    )


def read_provenance(data: bytes) -> Provenance | None:
    """How a picture of ours was made; None for any other content, however damaged.

    Args:
        data: The file's content.
    """
    for packet in xmp_packets(data):
        try:
            return _parse(packet)
        except (ElementTree.ParseError, LookupError, ValueError):
            continue
    return None


def _properties(provenance: Provenance) -> dict[str, str]:
    return {
        SOURCE_TYPE_KEY: SYNTHETIC_SOURCE_TYPE,
        "Iptc4xmpExt:AISystemUsed": SYSTEM,
        "Iptc4xmpExt:AISystemVersionUsed": provenance.generator,
        "Iptc4xmpExt:AIPromptInformation": _NOT_XML.sub(" ", provenance.prompt),
        "porcelain:Seed": str(provenance.seed),
        "porcelain:Steps": str(provenance.steps),
        "porcelain:GuidanceScale": repr(float(provenance.guidance_scale)),
    }


def _packet(provenance: Provenance) -> str:
    properties = "\n".join(
        f"<{name}>{escape(value)}</{name}>" for name, value in _properties(provenance).items()
    )
    return _PACKET.format(rdf=_RDF, iptc=_IPTC, ours=_OURS, properties=properties)


def _chunks(provenance: Provenance, packet: str) -> PngInfo:
    """Text chunks before the pixels."""
    chunks = PngInfo()
    chunks.add_text(SOURCE_TYPE_KEY, SYNTHETIC_SOURCE_TYPE)
    chunks.add_text("Software", SYSTEM)
    chunks.add_text("generator", provenance.generator)
    chunks.add_itxt("prompt", _NOT_XML.sub(" ", provenance.prompt))
    chunks.add_text("seed", str(provenance.seed))
    chunks.add_text("steps", str(provenance.steps))
    chunks.add_text("guidance_scale", repr(float(provenance.guidance_scale)))
    chunks.add_itxt(XMP_KEYWORD, packet)
    return chunks


def _parse(packet: bytes) -> Provenance:
    """Read a packet of `_packet`.

    Raises:
        ValueError: It declares entities, or a value is not a number.
        LookupError: A property is missing.
        ElementTree.ParseError: It is not XML.
    """
    if b"<!" in packet:
        raise ValueError("a packet with declarations is not ours")
    root = ElementTree.fromstring(packet.strip(b"\0 \n"))
    found = {element.tag: element.text or "" for element in root.iter()}
    if found[f"{{{_IPTC}}}DigitalSourceType"] != SYNTHETIC_SOURCE_TYPE:
        raise ValueError("not marked as synthetic")
    return Provenance(
        generator=found[f"{{{_IPTC}}}AISystemVersionUsed"],
        prompt=found[f"{{{_IPTC}}}AIPromptInformation"],
        seed=int(found[f"{{{_OURS}}}Seed"]),
        steps=int(found[f"{{{_OURS}}}Steps"]),
        guidance_scale=float(found[f"{{{_OURS}}}GuidanceScale"]),
    )
