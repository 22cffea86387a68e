"""Which photographs a folder of synthetic pictures has learned from: nothing may be tested on them.

A generator paints what it was shown, and a filter lets pass what its classifier was taught. Their
pictures carry a little of those photographs, so that whoever trains on the pictures may be measured
on other photographs only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from porcelain.bundle import SPLIT_FILE, Bundle
from porcelain.errors import DatasetError
from porcelain.files import write_json
from training.classifier.evaluation.selection import known_parts
from training.data.split import read_split

LEARNED_FILE: Final = "learned.json"


class Learned(BaseModel):
    """The content of `learned.json`.

    Attributes:
        names: File names of photographs that the generator was trained on.
        trained: SHA-256 of photographs that the filter's classifier was trained on.
        validated: SHA-256 of photographs that it was calibrated on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: frozenset[str] = frozenset()
    trained: frozenset[str] = frozenset()
    validated: frozenset[str] = frozenset()

    def join(self, other: Learned) -> Learned:
        """What either has learned from."""
        return Learned(
            names=self.names | other.names,
            trained=self.trained | other.trained,
            validated=self.validated | other.validated,
        )


def learned_by(generator: Bundle | None, classifier: Bundle | None) -> Learned | None:
    """What bundles have learned from; None where one of them does not say.

    Args:
        generator: A generator bundle; None for a base that knows no photograph of the collection.
        classifier: The filter's classifier; None where nothing reads labels.

    Raises:
        DatasetError: A bundle's list is not as this version writes it.
    """
    names: tuple[str, ...] = ()
    if generator is not None:
        file = generator.path / SPLIT_FILE
        if not file.is_file():
            return None
        names = read_split(file).names["train"]
    parts: dict[str, str] = {}
    if classifier is not None:
        parts = known_parts(classifier)
        if not parts:
            return None
    return Learned(
        names=frozenset(names),
        trained=frozenset(digest for digest, part in parts.items() if part == "train"),
        validated=frozenset(digest for digest, part in parts.items() if part == "validation"),
    )


def write_learned(folder: Path, learned: Learned) -> None:
    """Write `learned.json` into a folder of synthetic pictures."""
    write_json(folder / LEARNED_FILE, {name: sorted(values) for name, values in learned})


def read_learned(folder: Path) -> Learned | None:
    """Read `learned.json`; None where the folder has none.

    Raises:
        DatasetError: It is not as this version writes it.
    """
    path = folder / LEARNED_FILE
    if not path.is_file():
        return None
    try:
        return Learned.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise DatasetError(f"{path} is not valid: {error.errors()[0]['msg']}") from error
