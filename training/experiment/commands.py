"""`porcelain experiment`: run controlled comparisons, and report what they show."""

from __future__ import annotations

import typer

app = typer.Typer(
    help="Measure whether synthetic pictures help, task by task.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@app.callback()
def experiment() -> None:
    """Measure whether synthetic pictures help, task by task."""
