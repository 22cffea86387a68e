"""`porcelain demo`: from nothing to a REST answer, by the commands a user would type."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option(help="Where to keep what the demo makes.")] = Path("demo"),
) -> None:
    """Render pictures, train on them, serve the model and ask it about a picture."""
    raise typer.Exit(1)
