"""The table of museums, `museums.yaml`: read and checked."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from porcelain.errors import UserError

TABLE: Final = "museums.yaml"
Role = Literal[
    "title", "form", "material", "period", "date", "years", "place", "maker", "category", "notes"
]
ROLES: Final[tuple[Role, ...]] = (
    "title",
    "form",
    "material",
    "period",
    "date",
    "place",
    "maker",
    "category",
    "notes",
)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Paging(_Part):
    """How a list continues.

    Attributes:
        by: `skip` counts records, `page` counts pages from 1, `cursor` asks for larger ids.
        parameter: Query parameter that carries the count.
        size_parameter: Query parameter that carries the size of a page.
        size: Records per page.
        path: For `cursor`: where a record's id is.
    """

    by: Literal["skip", "page", "cursor"]
    parameter: str = ""
    size_parameter: str = ""
    size: int = 100
    path: str = ""


class Source(_Part):
    """Where the records are.

    Attributes:
        url: Of the dump or the first page; `{query}` is replaced by `query`.
        query: A search in the API's own language; `{after}` is replaced by the largest id so far.
        records: Path of the records, or of their ids, in an answer.
        paging: How the list continues; None where one answer holds all.
        each: Address of one record, where the list has ids only.
        each_record: Path of the record in that answer.
    """

    url: str
    query: str = ""
    records: str
    paging: Paging | None = None
    each: str | None = None
    each_record: str | None = None


class Key(_Part):
    """An API key: the environment variable that holds it and the query parameter that takes it."""

    variable: str
    parameter: str


class ObjectNumber(_Part):
    """Where the accession number is, and what of it the parts of one object share."""

    path: str
    stem: str


class Museum(_Part):
    """One museum. The head of the table explains paths and templates.

    Attributes:
        name: Its name.
        terms: What it allows, and where it says so.
        requests_per_second: How often it is asked at most.
        headers: Request headers; `{agent}` is who we say we are.
        key: Its API key, where it wants one.
        source: Where its records are; None where they must be given as files.
        id: Path of a record's id.
        id_stem: The part of that text which is the id; None for all of it.
        alternatives: Other names of fields, for layouts of other years.
        object: How parts of one object are recognised.
        page: Path or template of the record's page.
        credit: Path of the credit line.
        credit_text: The credit line that holds for all records.
        country: What every record's place is, where none says it.
        dynasty_is_country: Whether a Chinese dynasty says that a record is Chinese.
        fields: Paths per role.
        pictures: Paths or templates of the pictures, the best first.
        one_picture: Whether those are one picture in several sizes.
        license: The licence of all pictures.
        open: Licence per path and value, where the record decides.
    """

    name: str
    terms: str
    requests_per_second: float = Field(gt=0)
    headers: dict[str, str] = {}
    key: Key | None = None
    source: Source | None = None
    id: str
    id_stem: str | None = None
    alternatives: dict[str, str] = {}
    object: ObjectNumber
    page: str = ""
    credit: str = ""
    credit_text: str = ""
    country: str = ""
    dynasty_is_country: bool = False
    fields: dict[Role, list[str]]
    pictures: list[str]
    one_picture: bool = False
    license: str = ""
    open: dict[str, dict[str, str]] = {}


@cache
def museums() -> dict[str, Museum]:
    """Every museum of the table by its name on the command line."""
    text = files("training.data.museums").joinpath(TABLE).read_text(encoding="utf-8")
    return {name: Museum.model_validate(entry) for name, entry in yaml.safe_load(text).items()}


def museum(name: str) -> Museum:
    """One museum by its name on the command line.

    Raises:
        UserError: There is none of that name.
    """
    if name not in museums():
        raise UserError(f"There is no museum {name!r}; choose one of {', '.join(museums())}.")
    return museums()[name]
