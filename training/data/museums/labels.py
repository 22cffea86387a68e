"""Everything the rules say of one record."""

from __future__ import annotations

from dataclasses import dataclass

from training.data.museums.dynasty import read_dynasty
from training.data.museums.form import read_type
from training.data.museums.glaze import read_glaze
from training.data.museums.kiln import read_kiln
from training.data.museums.museum import Museum
from training.data.museums.reading import Reading
from training.data.museums.record import CatalogueRecord
from training.data.museums.selection import Choice, is_chinese_ceramic


@dataclass(frozen=True)
class Catalogued:
    """A record with its four readings and whether it is kept."""

    record: CatalogueRecord
    choice: Choice
    readings: dict[str, Reading]

    @property
    def labels(self) -> dict[str, str | None]:
        """Label per task; None where blank."""
        return {task: reading.label for task, reading in self.readings.items()}


def catalogue(record: CatalogueRecord, museum: Museum) -> Catalogued:
    """Read one record by the rules of the table."""
    readings = {
        "dynasty": read_dynasty(record),
        "glaze": read_glaze(record),
        "kiln": read_kiln(record),
        "type": read_type(record),
    }
    return Catalogued(record, is_chinese_ceramic(record, museum), readings)
