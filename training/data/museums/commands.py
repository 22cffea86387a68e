"""`porcelain data import museum`: a museum's open records and pictures as a dataset folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from porcelain.cli.console import Stages, done

EXAMPLES = """
[bold]The Met's Chinese ceramics, CC0 pictures, a picture each; some hours, politely:[/]

porcelain data import museum met --out data/met --contact me@example.org

[bold]Try it on twenty first; two pictures of each:[/]

porcelain data import museum cleveland --out data/cleveland --limit 20 --views 2

[bold]From a dump that is already here; only the pictures are fetched:[/]

porcelain data import museum mia --records collection/objects --out data/mia

[bold]Museums:[/] artic, carnegie, cleveland, harvard, ima, met, mia, npm, puam, smithsonian, vam, \
wcma. What each allows stands in training/data/museums/museums.yaml; the phrases that become \
labels in training/data/museums/phrases.yaml.
"""


def import_(
    museum: Annotated[str, typer.Argument(help="Which museum; see below.")],
    out: Annotated[Path, typer.Option(help="Dataset folder to write.")],
    records: Annotated[
        Path | None,
        typer.Option(
            help="Records already here: a .json, .jsonl, .txt (JSON lines) or .csv file, perhaps "
            "packed (.bz2, .gz), or a folder of them."
        ),
    ] = None,
    views: Annotated[
        int | None,
        typer.Option(min=1, help="Most pictures of a record (default 1, the whole object)."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most records to import.")] = None,
    permission: Annotated[
        bool,
        typer.Option(
            "--permission",
            help="Also pictures without a stated open licence: you have the museum's permission.",
        ),
    ] = False,
    contact: Annotated[
        str | None,
        typer.Option(help="Your address, told to the museum in the user agent, as it asks."),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Requests a second; as the museum allows if not given.")
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask anew for what was fetched before.")
    ] = False,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of downloads; the user's cache if not given.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is at the output.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON on standard output.")
    ] = False,
) -> None:
    """Bring in a museum's Chinese ceramics with openly licensed pictures.

    Reads its open catalogue, keeps Chinese ceramics, reads dynasty, glaze,
    kiln and type out of its words by a table of phrases, and leaves blank
    what the catalogue does not say for certain. import.html in the folder
    tells what was mapped, what was not, and why.

    Run the same command again after an interruption and it goes on where it
    stopped.
    """
    from porcelain.cli.options import build_settings
    from training.data.museums.importing import import_museum
    from training.data.museums.settings import ImportSettings

    settings = build_settings(
        ImportSettings,
        museum=museum,
        records=records,
        views=views,
        limit=limit,
        permission=permission,
        contact=contact,
        rate=rate,
        refresh=refresh,
    )
    with Stages() as stages:
        report = import_museum(
            settings, out, overwrite=overwrite, cache=cache, on_progress=stages.report
        )
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
    else:
        from rich.console import Console

        from training.data.museums.presentation import import_view

        Console(highlight=False).print(import_view(report))
    lost = len(report.unanswered)
    given = f"; {lost} more were listed and not given, see there" if lost else ""
    done(
        f"Wrote {out}: {report.pictures} pictures of {report.objects} objects, from "
        f"{report.records} records{given}. Report: {out / 'import.html'}.",
        f"porcelain data check {out}",
    )
