"""The `porcelain` command: finds the command groups and turns users' mistakes into one line."""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points
from typing import Annotated

import typer
from rich.console import Console

from porcelain import __version__
from porcelain.cli import demo, verify
from porcelain.errors import PorcelainError

COMMAND_GROUP = "porcelain.commands"

# Which extra brings a module that a command may miss.
EXTRA_OF_MODULE = {
    "torch": "training",
    "torchvision": "training",
    "timm": "training",
    "accelerate": "training",
    "torchmetrics": "training",
    "sklearn": "training",
    "scipy": "training",
    "imagehash": "training",
    "onnx": "training",
    "onnxscript": "training",
    "matplotlib": "training",
    "httpx": "training",
    "jinja2": "training",
    "tenacity": "training",
    "tensorboard": "training",
    "openpyxl": "training",
    "safetensors": "training",
    "diffusers": "generator",
    "transformers": "generator",
    "peft": "generator",
    "vtk": "render",
    "c2pa": "credentials",
    "cryptography": "credentials",
    "fsspec": "batch",
    "filelock": "batch",
    "pyarrow": "batch",
    "ray": "batch",
    "bentoml": "classifier",
    "onnxruntime": "classifier",
    "prometheus_client": "classifier",
    "pydantic_settings": "classifier",
}

EPILOG = """
[bold]Begin:[/] porcelain demo

[bold]Your own photographs:[/]

porcelain data check PHOTOS

porcelain data split PHOTOS

porcelain classifier train --data PHOTOS --out runs/classifier

porcelain classifier evaluate --bundle runs/classifier --data PHOTOS

porcelain serve classifier --bundle runs/classifier
"""


def _version(show: bool) -> None:
    if show:
        typer.echo(f"porcelain {__version__}")
        raise typer.Exit


def build_app() -> typer.Typer:
    """The whole command tree, one group per installed part."""
    app = typer.Typer(
        name="porcelain",
        help="Recognise Chinese porcelain: dynasty, glaze, kiln and vessel type.",
        epilog=EPILOG,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        add_completion=False,
    )

    @app.callback()
    def options(
        version: Annotated[
            bool,
            typer.Option(
                "--version", callback=_version, is_eager=True, help="Print the version and stop."
            ),
        ] = False,
    ) -> None:
        del version

    for entry in sorted(entry_points(group=COMMAND_GROUP), key=lambda entry: entry.name):
        app.add_typer(entry.load(), name=entry.name)
    app.command("demo")(demo.demo)
    app.command("verify")(verify.verify)
    return app


def main() -> None:
    """Run the command line; the process ends with status 0, 2 for a user's mistake, or 130."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        build_app()()
    except PorcelainError as error:
        errors.print(f"[red]Error:[/] {_plain(str(error))}")
        sys.exit(2)
    except ModuleNotFoundError as error:
        extra = EXTRA_OF_MODULE.get((error.name or "").split(".")[0])
        if extra is None:
            raise
        errors.print(
            f"[red]Error:[/] this command needs {error.name}; install it with "
            + _plain(f"pip install 'porcelain[{extra}]'.")
        )
        sys.exit(2)
    except KeyboardInterrupt:
        errors.print("Interrupted. Run the same command again to go on from here.")
        sys.exit(130)
    except BrokenPipeError:
        # The reader (head, less) has gone; Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        place = f"{error.filename}: " if error.filename else ""
        errors.print(f"[red]Error:[/] {_plain(place + (error.strerror or str(error)))}.")
        sys.exit(2)


def _plain(text: str) -> str:
    """Text in which rich sees no markup."""
    return text.replace("[", r"\[")


if __name__ == "__main__":
    main()
