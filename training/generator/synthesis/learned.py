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
from training.data.digests import BASE_PART, TRAIN_PART, read_digests
from training.data.split import read_split

LEARNED_FILE: Final = "learned.json"


class Learned(BaseModel):
    """The content of `learned.json`.

    Attributes:
        names: File names of photographs that the generator was trained on, where it does not know
            their content.
        trained: SHA-256 of photographs that generator or filter was trained on.
        validated: SHA-256 of photographs that the filter's classifier was calibrated on.
        base_known: Whether what the generator's base has learned from is among them; a hub model
            does not say.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: frozenset[str] = frozenset()
    trained: frozenset[str] = frozenset()
    validated: frozenset[str] = frozenset()
    base_known: bool = True

    def join(self, other: Learned) -> Learned:
        """What either has learned from."""
        return Learned(
            names=self.names | other.names,
            trained=self.trained | other.trained,
            validated=self.validated | other.validated,
            base_known=self.base_known and other.base_known,
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
        parts = read_digests(generator.path)
        learned = learned_by_base_of(generator)
        split = generator.path / SPLIT_FILE
        if parts.get(TRAIN_PART):
            learned = learned.join(Learned(trained=parts[TRAIN_PART]))
        elif split.is_file():  # of an earlier version
            learned = learned.join(Learned(names=frozenset(read_split(split).names["train"])))
        else:
            return None
    if classifier is not None:
        taught = read_digests(classifier.path)
        if not taught:
            return None
        nothing = frozenset[str]()
        of_filter = Learned(
            trained=taught.get(TRAIN_PART, nothing), validated=taught.get("validation", nothing)
        )
        learned = learned.join(of_filter)
    return learned


def learned_by_base_of(generator: Bundle) -> Learned:
    """What the base of a generator bundle has learned from, as far as the bundle knows."""
    digests = read_digests(generator.path).get(BASE_PART)
    return Learned(trained=digests or frozenset(), base_known=digests is not None)


def write_learned(folder: Path, learned: Learned) -> None:
    """Write `learned.json` into a folder of synthetic pictures."""
    content = learned.model_dump(mode="json")
    lists = {name: sorted(values) for name, values in content.items() if name != "base_known"}
    write_json(folder / LEARNED_FILE, lists | {"base_known": learned.base_known})


def read_learned(folder: Path) -> Learned | None:
    """Read `learned.json`; None where the folder has none.

    Raises:
        DatasetError: It is not as this version writes it.
    """
    path = folder / LEARNED_FILE
    if not path.is_file():
        return None
    try:
        learned = Learned.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise DatasetError(f"{path} is not valid: {error.errors()[0]['msg']}") from error
    # Earlier versions did not ask the base.
    known = learned.base_known and "base_known" in learned.model_fields_set
    return learned.model_copy(update={"base_known": known})
