"""`porcelain data`: make, check, split and mix dataset folders."""

from __future__ import annotations

import typer

app = typer.Typer(help="Make, check, split and mix dataset folders.", no_args_is_help=True)


@app.callback()
def data() -> None:
    """Make, check, split and mix dataset folders."""
