"""What every report for people shares: one HTML file that refers to nothing outside itself."""

from __future__ import annotations

import base64
import io

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from PIL import Image

_QUALITY = 82


def page_templates(package: str) -> Environment:
    """The templates of `package` (in its folder `templates`), with the shared style `page.css`.

    Templates have the filters `score` and `percent`; what they name must exist.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("training.pages")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["score"] = score
    environment.filters["percent"] = percent
    return environment


def score(value: float | None) -> str:
    """A score with three decimals, or a dash."""
    return "–" if value is None else f"{value:.3f}"


def percent(value: float | None) -> str:
    """A share in whole per cent, or a dash; all is 100 % only where it is all."""
    if value is None:
        return "–"
    rounded = round(100 * value)
    if rounded == 100 and value < 1:
        return f"{100 * value:.1f} %" if value < 0.9995 else "> 99.9 %"
    return f"{rounded} %"


def thumbnail_uri(image: Image.Image, side: int) -> str:
    """The picture as a JPEG data URI, its longest side at most `side` pixels."""
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
