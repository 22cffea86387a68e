"""The shared museum records, as the museums' own formats write them.

Some of them were re-shaped by others (a TSV of the CC Catalog, rows of SQL); here they get the
museum's own field names back, so that the importer proper needs to know its own formats only.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from porcelain.errors import UserError

_SQL_VALUE = re.compile(r"N?'((?:[^']|'')*)'|NULL")


def raw_records(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Museum and record, for every record below the folder of the twelve museums.

    Raises:
        UserError: The folder is not there.
    """
    if not (folder / "met").is_dir():
        raise UserError(f"{folder} does not hold the museum records; give --records.")
    for museum, place in (("met", "met"), ("mia", "mia"), ("ima", "ima"), ("wcma", "wcma")):
        yield from ((museum, read(path)) for path in sorted((folder / place).glob("*.json")))
    yield from (("carnegie", read(path)) for path in sorted((folder / "cmoa").glob("*.json")))
    for path in sorted((folder / "cma").glob("*.tsv")):
        yield from (("cleveland", row) for row in _cleveland(path))
    for path in sorted((folder / "npm").glob("*.csv")):
        rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")))
        yield from (("npm", dict(row)) for row in rows)
    for path in sorted((folder / "npm").glob("*.sql.txt")):
        yield from (("npm", row) for row in _palace_rows(path))
    for hit in read(folder / "puam" / "search.json")["hits"]["hits"]:
        yield "puam", hit["_source"]
    yield from _shape_only(folder)


def read(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """A JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def _cleveland(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        cells = line.split("\t")
        data = json.loads(cells[12])
        yield {
            "id": cells[0],
            "accession_number": data["accession_number"],
            "title": cells[11],
            "technique": data.get("technique"),
            "culture": [data["culture"]] if data.get("culture") else [],
            "creation_date": data.get("date"),
            "type": data.get("classification"),
            "share_license_status": cells[7],
            "creditline": data.get("credit_line"),
            "url": cells[1],
            "images": {"web": {"url": cells[2]}},
        }


def _palace_rows(path: Path) -> Iterator[dict[str, Any]]:
    names = ("Id", "ArtifactRef", "Name", "CategoryId", "EraBucketId", "EraTextOriginal")
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip().startswith("("):
            continue
        values = [match[1] for match in _SQL_VALUE.finditer(line)]
        row = dict(zip((*names, "CreatorDisplay", "Description"), values, strict=False))
        yield {
            "identifier": row["ArtifactRef"].split("N0")[0],
            "name": row["Name"],
            "era": row["EraTextOriginal"],
            "desc": row["Description"],
        }


def _shape_only(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with (folder / "aic" / "someArtworks.arts-of-asia.csv").open(encoding="utf-8") as file:
        yield from (("artic", dict(row)) for row in csv.DictReader(file))
    artwork = read(folder / "aic" / "shape-only" / "11.json")
    yield "artic", artwork.get("data", artwork)
    yield "harvard", read(folder / "harvard" / "shape-only" / "object-304069.json")
    for record in read(folder / "harvard" / "shape-only" / "object-list.json")["records"]:
        yield "harvard", record
    yield "vam", read(folder / "vam" / "shape-only" / "object-O84909.json")["record"]
    for record in read(folder / "vam" / "shape-only" / "objects-search.json")["records"]:
        yield "vam", record
    answer = read(folder / "smithsonian" / "shape-only" / "actual_response.json")
    yield from (("smithsonian", row) for row in answer["response"]["rows"])
