"""Options that several commands of `porcelain generator` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

GeneratorBundle = Annotated[Path, typer.Option(help="Generator bundle.")]
Base = Annotated[
    str | None,
    typer.Option(help="Where its base model is, if not where the bundle says; digests must match."),
]
Device = Annotated[str, typer.Option(help="auto (CUDA where there is one), cpu or cuda.")]
Split = Annotated[
    Path | None,
    typer.Option(help="Split of --data; its split.json, or the bundle's, if not given."),
]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Pictures denoised at once.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same result.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is at the output.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
