"""What tells that a picture is synthetic: its mark, its content credentials, its watermark."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from porcelain.content_credentials import Credentials, read_credentials
from porcelain.errors import ImageError
from porcelain.images import decode_image
from porcelain.synthetic_mark import is_marked_synthetic
from porcelain.watermark import Detection, detect_watermark


@dataclass(frozen=True)
class Examination:
    """What was found in one file.

    Attributes:
        marked: Whether its metadata say that a model made it.
        credentials: Its C2PA content credentials.
        watermark: What its pixels say; None where they were not looked at or cannot be read.
        problem: Why its pixels cannot be read.
    """

    marked: bool
    credentials: Credentials
    watermark: Detection | None = None
    problem: str | None = None

    @property
    def evidence(self) -> list[str]:
        """What tells that a model made the picture; nothing tells that none did."""
        told = {
            "metadata": self.marked,
            "content credentials": self.credentials.synthetic,
            "watermark": self.watermark is not None and self.watermark.present,
        }
        return [name for name, found in told.items() if found]

    @property
    def synthetic(self) -> bool:
        """Whether anything tells that a model made it."""
        return bool(self.evidence)

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        seen = self.watermark
        return {
            "synthetic": self.synthetic,
            "evidence": self.evidence,
            "metadata": self.marked,
            "content_credentials": {
                "state": self.credentials.state,
                "synthetic": self.credentials.synthetic,
                "signer": self.credentials.signer,
                "problems": list(self.credentials.problems),
            },
            "watermark": None
            if seen is None
            else {
                "present": seen.present,
                "score": round(seen.score, 3),
                "false_alarm": float(f"{seen.false_alarm:.3g}"),
            },
            "problem": self.problem,
        }


def examine(data: bytes, *, pixels: bool = True, trusted: bytes | None = None) -> Examination:
    """Look for everything that tells a generated picture.

    Args:
        data: The file's content; damaged content never raises.
        pixels: Whether to decode the picture and look for the watermark.
        trusted: Certificates as PEM whose signatures are trusted.
    """
    marked, credentials = is_marked_synthetic(data), read_credentials(data, trusted)
    if not pixels:
        return Examination(marked, credentials)
    try:
        seen = detect_watermark(decode_image(data).pixels)
    except ImageError as error:
        return Examination(marked, credentials, problem=str(error))
    return Examination(marked, credentials, seen)


def is_synthetic(path: Path) -> bool:
    """Whether anything in a file tells that a model made it; the cheap signs are read first."""
    data = path.read_bytes()
    return examine(data, pixels=False).synthetic or examine(data).synthetic
