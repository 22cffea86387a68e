"""`porcelain batch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from porcelain.cli.options import Certificate, CertificateKey, DemoCertificate

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
            help="Folder, dataset folder, table (.csv), 'pattern/*.jpg', list of paths, - or s3://bucket/folder.",
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
    coverage: Annotated[
        float | None,
        typer.Option(help="Also give the labels that hold the true one with this chance: 0.9."),
    ] = None,
    by_object: Annotated[
        bool,
        typer.Option(
            "--by-object",
            help="Also answer each object from all its pictures, which is surer: a dataset folder "
            "with the column object_id.",
        ),
    ] = False,
    known: Annotated[
        str | None,
        typer.Option(
            metavar="TASK[,TASK]",
            help="Take these columns of a dataset folder as facts; they move the other answers.",
        ),
    ] = None,
    image_url: Annotated[
        str | None,
        typer.Option(
            metavar="PREFIX",
            help="For Label Studio (--out *.json): stands before the pictures' paths below INPUT, "
            "as in /data/local-files/?d=photos/",
        ),
    ] = None,
    max_bytes: Annotated[int | None, typer.Option(help="Most bytes of a picture.")] = None,
    max_pixels: Annotated[int | None, typer.Option(help="Most pixels of a picture.")] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Classify every picture of a collection: one row each, in the form that OUT's ending names.

    .parquet holds everything; .xlsx and .csv are a catalogue: the owner's columns first and as they
    were (of a dataset folder, or a .csv with file_name), then for each task the answer in English
    and Chinese, its probability, whether it is sure, the second and the third; .json are
    predictions for Label Studio.

    [bold]A folder:[/] porcelain batch classify photos --bundle runs/classifier --out labels.parquet

    [bold]A list:[/] find photos -name '*.jpg' | porcelain batch classify - --bundle runs/classifier --out labels.parquet

    [bold]A bucket, on a Ray cluster:[/] porcelain batch classify s3://museum/photos --ray auto --bundle runs/classifier --out labels.parquet

    A picture that cannot be used is a row with its error. Killed or interrupted, the same command
    goes on from the last part. The result has every input once, in order: labels, probabilities,
    abstentions, whether the picture is like those of training (in_domain), and the model that
    said so; with --coverage also label sets. With --by-object a second file beside it, OUT with
    .objects.parquet, has a row for each object. With --known dynasty,kiln what the collection
    knows already is used: see the columns _model_probability and _conflict.
    """  # noqa: E501 - lines to copy
    from batch.pool import start_early

    if ray is None:
        start_early()  # first, beside the imports that follow
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
        coverage=coverage,
        by_object=by_object,
        known=tuple(task.strip() for task in (known or "").split(",") if task.strip()),
        max_bytes=max_bytes,
        max_pixels=max_pixels,
    )
    with showing("Classify") as on_progress:
        summary = run(
            pictures,
            bundle,
            out,
            settings,
            overwrite=overwrite,
            image_url=image_url,
            on_progress=on_progress,
        )
    if as_json:
        typer.echo(json.dumps(summary.to_json()))
    told = f"{out}: {summary.classified:,} of {summary.rows:,} pictures classified"
    if summary.errors:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary.errors.items())
        told += f"; not usable: {kinds} (see the columns error_kind and error)"
    if summary.unlike:
        told += f"; {summary.unlike:,} unlike the training pictures (in_domain is false)"
    if summary.left_out:
        told += f"; {summary.left_out:,} files left out, named in {summary.left_out_file}"
    if summary.cut:
        told += f"; {summary.cut:,} cells longer than Excel's 32,767 characters were cut"
    if summary.objects_out is not None:
        told += f"; {summary.objects:,} objects in {summary.objects_out}"
    done(
        f"{told}. {summary.per_second:.1f} pictures/s.",
        _next_step(out),
    )


def _next_step(out: Path) -> str:
    """What to do with a result."""
    if out.suffix.lower() == ".json":
        return f"in Label Studio, Labeling Interface: {out.with_suffix('.xml')}; Import: {out}"
    if out.suffix.lower() == ".parquet":
        return f"python -c \"import pandas; print(pandas.read_parquet('{out}'))\""
    return f"open {out}"


@app.command()
def generate(
    plan: Annotated[
        Path,
        typer.Argument(
            metavar="PLAN", help="CSV, JSON-lines or Parquet: labels, count, seed, steps a row."
        ),
    ],
    bundle: Annotated[Path, typer.Option(help="Generator bundle.")],
    out: OutOption,
    base: Annotated[
        str | None, typer.Option(help="Where the base model is, if not where the bundle says.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of rows that name none: same seed, same pictures.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Of the sampler; the bundle's.")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="The bundle's.")] = None,
    width: Annotated[int | None, typer.Option(help="In pixels; the bundle's.")] = None,
    height: Annotated[int | None, typer.Option(help="In pixels; the bundle's.")] = None,
    picture_format: Annotated[
        str | None, typer.Option("--format", help="png (default), jpeg or webp.")
    ] = None,
    allow_unseen: Annotated[
        bool, typer.Option("--allow-unseen", help="Make combinations that training never saw.")
    ] = False,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Pictures made together: what an interruption can lose; 8."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or auto.")] = None,
    workers: Annotated[int | None, typer.Option(help="Most Ray actors.")] = None,
    ray: RayOption = None,
    certificate: Certificate = None,
    certificate_key: CertificateKey = None,
    demo_certificate: DemoCertificate = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make every picture of a plan, marked as synthetic: a dataset folder.

    [bold]Follow a plan:[/] porcelain batch generate plan.csv --bundle runs/generator --out made

    A plan is a table with any of the columns dynasty, glaze, kiln, type, count, seed, steps and
    guidance_scale; blank is unknown, or the default. Killed or interrupted, the same command goes
    on from the last batch. Nothing is filtered: for training, use porcelain generator synthesize.
    """
    import json

    from batch.generate import generate as run
    from batch.progress import showing
    from batch.settings import GenerateSettings
    from porcelain.cli.console import done
    from porcelain.cli.options import build_settings
    from porcelain.content_credentials import load_signing

    signing = load_signing(certificate, certificate_key, demo_certificate)
    settings = build_settings(
        GenerateSettings,
        base=base,
        seed=seed,
        steps=steps,
        guidance_scale=guidance_scale,
        width=width,
        height=height,
        format=picture_format,
        allow_unseen=allow_unseen,
        batch_size=batch_size,
        device=device,
        workers=workers,
        ray=ray,
    )
    with showing("Generate") as on_progress:
        summary = run(
            plan,
            bundle,
            out,
            settings,
            overwrite=overwrite,
            signing=signing,
            on_progress=on_progress,
        )
    if as_json:
        typer.echo(json.dumps(summary.to_json()))
    done(
        f"{out}: {summary.pictures:,} synthetic pictures of {summary.rows:,} rows.",
        f"porcelain data check {out}",
    )
