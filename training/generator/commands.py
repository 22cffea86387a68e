"""`porcelain generator`: pretrain, train, synthesize and evaluate."""

from __future__ import annotations

import typer

app = typer.Typer(
    help="Fine-tune Stable Diffusion and synthesise rare kinds.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
