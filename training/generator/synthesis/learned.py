"""Which photographs a folder of synthetic pictures has learned from: nothing may be tested on them.

A generator paints what it was shown, and a filter lets pass what its classifier was taught. Their
pictures carry a little of those photographs, so that whoever trains on the pictures may be measured
on other photographs only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from porcelain.bundle import SPLIT_FILE, Bundle
from porcelain.errors import DatasetError
from porcelain.files import write_json
from training.data.digests import known_parts
from training.data.split import read_split

LEARNED_FILE: Final = "learned.json"


class Learned(BaseModel):
    """The content of `learned.json`.

    Attributes:
        names: File names of photographs that the generator was trained on, where it does not know
            their content.
        trained: SHA-256 of photographs that generator or filter was trained on.
        validated: SHA-256 of photographs that the filter's classifier was calibrated on.
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
    learned = Learned()
    if generator is not None:
        digests = _of_part(known_parts(generator), "train")
        split = generator.path / SPLIT_FILE
        if digests:
            learned = Learned(trained=digests)
        elif split.is_file():  # of an earlier version
            learned = Learned(names=frozenset(read_split(split).names["train"]))
        else:
            return None
    if classifier is not None:
        parts = known_parts(classifier)
        if not parts:
            return None
        of_filter = Learned(
            trained=_of_part(parts, "train"), validated=_of_part(parts, "validation")
        )
        learned = learned.join(of_filter)
    return learned


def _of_part(parts: Mapping[str, str], part: str) -> frozenset[str]:
    return frozenset(digest for digest, of in parts.items() if of == part)


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
