"""Which of several media types a caller wants (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence

MOST_RANGES = 20


def choose(accept: str, offers: Sequence[str]) -> str | None:
    """The offer that an Accept header prefers; of equally good ones the first.

    Args:
        accept: The header's value; an empty one accepts everything.
        offers: Media types, the best first.

    Returns:
        One of `offers`, or None if the caller accepts none.
    """
    ranges = [_range(text) for text in accept.split(",")[:MOST_RANGES] if text.strip()]
    if not ranges:
        return offers[0] if offers else None
    qualities = {offer: _quality(offer, ranges) for offer in offers}
    best = max(qualities.values(), default=0.0)
    return next((offer for offer in offers if qualities[offer] == best > 0), None)


def _range(text: str) -> tuple[str, float]:
    kind, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return kind, min(max(float(parameter[2:]), 0.0), 1.0)
            except ValueError:
                return kind, 0.0
    return kind, 1.0


def _quality(offer: str, ranges: Sequence[tuple[str, float]]) -> float:
    """That of the most specific range that fits."""
    family = offer.partition("/")[0]
    for fitting in (offer, f"{family}/*", "*/*"):
        given = [quality for kind, quality in ranges if kind == fitting]
        if given:
            return max(given)
    return 0.0
