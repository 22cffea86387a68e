"""`porcelain serve`."""

from __future__ import annotations

import typer

app = typer.Typer(help="Serve a bundle over REST.", no_args_is_help=True)


@app.callback()
def serve() -> None:
    """Serve a bundle over REST."""
