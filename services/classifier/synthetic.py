"""Says so when a picture that is to be classified was made by a model."""

from __future__ import annotations

from porcelain.content_credentials import claims_synthetic
from porcelain.images import DecodeLimits, decode_image
from porcelain.synthetic_mark import is_marked_synthetic
from porcelain.watermark import detect_watermark


def synthetic_warnings(data: bytes, limits: DecodeLimits, *, watermark: bool) -> list[str]:
    """A sentence for each sign that a model made the picture; no sign proves a photograph.

    Args:
        data: A picture that has been decoded before.
        limits: Bounds checked before decoding.
        watermark: Whether to decode it at full size and look for the watermark.
    """
    warnings = []
    if is_marked_synthetic(data):
        warnings.append("The picture's metadata say that a model made it.")
    if claims_synthetic(data):
        warnings.append("The picture's content credentials say that a model made it.")
    if watermark:
        seen = detect_watermark(decode_image(data, limits=limits).pixels)
        if seen.present:
            warnings.append(
                "The picture has the watermark of a generated one "
                f"(chance explains it at most {seen.false_alarm:.2g})."
            )
    return warnings
