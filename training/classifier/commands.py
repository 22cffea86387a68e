"""`porcelain classifier`: train, evaluate and export."""

from __future__ import annotations

import typer

app = typer.Typer(help="Train, evaluate and export the classifier.", no_args_is_help=True)


@app.callback()
def classifier() -> None:
    """Train, evaluate and export the classifier."""
