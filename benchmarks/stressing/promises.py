"""What a scenario promises, what it measured, and whether the promise was kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Promise:
    """One line of a scenario's table.

    Attributes:
        what: What is promised.
        measured: What was seen.
        kept: Whether that keeps it; None where nothing is promised.
    """

    what: str
    measured: str
    kept: bool | None = None


def show(title: str, promises: Sequence[Promise]) -> bool:
    """Print a scenario's table; whether every promise was kept."""
    table = Table(title=title, width=110)
    table.add_column("promise", ratio=5)
    table.add_column("measured", ratio=6)
    table.add_column("", width=6)
    for one in promises:
        verdict = "" if one.kept is None else "kept" if one.kept else "BROKEN"
        table.add_row(one.what, one.measured, verdict)
    Console(width=110).print(table)
    return all(one.kept is not False for one in promises)
