"""`porcelain batch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Whole collections at once, resumable.", no_args_is_help=True)

OutOption = Annotated[Path, typer.Option(help="Where the result appears.")]
OverwriteOption = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace the result, and another job's unfinished work."),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the counts as JSON on standard output.")
]
RayOption = Annotated[
    str | None,
    typer.Option(help="Work on Ray: the cluster's address, auto, or local for this machine."),
]


@app.callback()
def batch() -> None:
    """Whole collections at once, resumable."""


@app.command()
def classify(
    pictures: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="Folder, dataset folder, 'pattern/*.jpg', list of paths, - or s3://bucket/folder.",
        ),
    ],
    bundle: Annotated[Path, typer.Option(help="Classifier bundle.")],
    out: OutOption,
    part_size: Annotated[
        int | None, typer.Option(help="Pictures per part: what an interruption can lose; 2000.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes or Ray actors; one per core.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Pictures per call of the model; 8, on a GPU 64.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    ray: RayOption = None,
    top_k: Annotated[int | None, typer.Option(help="Candidates kept per task; 3.")] = None,
    max_bytes: Annotated[int | None, typer.Option(help="Most bytes of a picture.")] = None,
    max_pixels: Annotated[int | None, typer.Option(help="Most pixels of a picture.")] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Classify every picture of a collection: one row each, in a Parquet file.

    [bold]A folder:[/] porcelain batch classify photos --bundle runs/classifier --out labels.parquet

    [bold]A list:[/] find photos -name '*.jpg' | porcelain batch classify - --bundle runs/classifier --out labels.parquet

    [bold]A bucket, on a Ray cluster:[/] porcelain batch classify s3://museum/photos --ray auto --bundle runs/classifier --out labels.parquet

    A picture that cannot be used is a row with its error. Killed or interrupted, the same command
    goes on from the last part. The result has every input once, in order: labels, probabilities,
    abstentions, and the model that said so.
    """  # noqa: E501 - lines to copy
    import json

    from batch.classify import classify as run
    from batch.progress import showing
    from batch.settings import ClassifySettings
    from porcelain.cli.console import done
    from porcelain.cli.options import build_settings

    settings = build_settings(
        ClassifySettings,
        part_size=part_size,
        workers=workers,
        batch_size=batch_size,
        device=device,
        ray=ray,
        top_k=top_k,
        max_bytes=max_bytes,
        max_pixels=max_pixels,
    )
    with showing("Classify") as on_progress:
        summary = run(pictures, bundle, out, settings, overwrite=overwrite, on_progress=on_progress)
    if as_json:
        typer.echo(json.dumps(summary.to_json()))
    told = f"{out}: {summary.classified:,} of {summary.rows:,} pictures classified"
    if summary.errors:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary.errors.items())
        told += f"; not usable: {kinds} (see the columns error_kind and error)"
    if summary.left_out:
        told += f"; {summary.left_out:,} files of other kinds left out"
    done(
        f"{told}. {summary.per_second:.1f} pictures/s.",
        f"python -c \"import pandas; print(pandas.read_parquet('{out}'))\"",
    )
