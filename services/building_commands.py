"""`porcelain bento`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Package a service with its bundle as a bento.", no_args_is_help=True)
build = typer.Typer(help="Build a bento.", no_args_is_help=True)
app.add_typer(build, name="build")

BundleOption = Annotated[Path, typer.Option(help="Bundle to serve.")]
VersionOption = Annotated[
    str | None, typer.Option(help="Version of the bento; BentoML makes one if not given.")
]


@build.command()
def classifier(bundle: BundleOption, version: VersionOption = None) -> None:
    """Build the classifier's bento, with its bundle in it.

    [bold]Build:[/] porcelain bento build classifier --bundle runs/classifier

    [bold]Serve:[/] bentoml serve porcelain_classifier:latest
    """
    from services.building import build_bento

    _say(build_bento("classifier", bundle, version=version))


@build.command()
def generator(
    bundle: BundleOption,
    base: Annotated[
        str | None,
        typer.Option(
            help="Where the base model is, if not where the bundle says: a folder or a hub id."
        ),
    ] = None,
    version: VersionOption = None,
) -> None:
    """Build the generator's bento, with its bundle and its base model in it.

    [bold]Build:[/] porcelain bento build generator --bundle runs/generator

    [bold]Serve:[/] bentoml serve porcelain_generator:latest --port 3001
    """
    from services.building import build_bento

    _say(build_bento("generator", bundle, base=base, version=version))


def _say(tag: str) -> None:
    typer.echo(f"Built {tag}")
    typer.echo(f"Next: bentoml serve {tag}   (or: bentoml containerize {tag})")
