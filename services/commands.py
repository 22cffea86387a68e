"""`porcelain serve`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Serve a bundle over REST.", no_args_is_help=True)

Host = Annotated[str, typer.Option(help="IP address to listen on.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")]
ReviewFolder = Annotated[
    Path | None,
    typer.Option(help="Where the studio also saves reviewed pictures, as dataset folders."),
]
Pictures = Annotated[
    Path | None,
    typer.Option(
        help="The classifier's dataset folder: the studio shows the most similar of its pictures."
    ),
]


@app.callback()
def serve() -> None:
    """Serve a bundle over REST."""


@app.command()
def classifier(
    bundle: Annotated[
        Path | None,
        typer.Option(help="Classifier bundle to serve.", envvar="PORCELAIN_BUNDLE"),
    ] = None,
    port: Port = 3000,
    host: Host = "127.0.0.1",
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="API processes; default one per core.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, or cuda (inner service with batching).")
    ] = None,
) -> None:
    """Answer what a picture shows: POST /v1/classify.

    [bold]Start:[/] porcelain serve classifier --bundle runs/classifier --port 3000

    [bold]Ask:[/] curl -F image=@vase.jpg -F top_k=3 http://127.0.0.1:3000/v1/classify

    Limits and everything else are environment variables, such as PORCELAIN_MAX_BYTES; the running
    service describes itself at /openapi.json.
    """
    from porcelain.bundle import load_bundle
    from porcelain.errors import UserError
    from services.auth import BearerKeys
    from services.classifier.settings import ClassifierSettings
    from services.launch import serve as serve_bento
    from services.settings import environment_of, load_settings

    if bundle is None:
        raise UserError("Say which model to serve with --bundle DIR, or set PORCELAIN_BUNDLE.")
    given = {"bundle": bundle.resolve(), "workers": workers, "device": device}
    os.environ.update(environment_of(**given))
    settings = load_settings(ClassifierSettings)
    load_bundle(settings.bundle, "classifier").classifier  # noqa: B018 - refuse it here, once
    BearerKeys(settings.key_file)
    # A worker has one core: numpy's threads would spin on those of the others.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    serve_bento(
        "services.classifier.service:ClassifierService", host, port, settings.shutdown_seconds
    )


@app.command()
def generator(
    bundle: Annotated[
        Path | None,
        typer.Option(help="Generator bundle to serve.", envvar="PORCELAIN_BUNDLE"),
    ] = None,
    port: Port = 3001,
    host: Host = "127.0.0.1",
    base: Annotated[
        str | None,
        typer.Option(
            help="Where the base model is, if not where the bundle says: a folder or a hub id."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Processes, each with the whole model; default one."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, or auto (default): CUDA where there is one.")
    ] = None,
) -> None:
    """Make pictures from labels: POST /v1/generate.

    [bold]Start:[/] porcelain serve generator --bundle runs/generator --port 3001

    [bold]Ask:[/] curl -H 'Content-Type: application/json' -H 'Accept: image/png' -d '{"type": "vase"}' -o vase.png http://127.0.0.1:3001/v1/generate

    Limits and everything else are environment variables, such as PORCELAIN_MAX_COUNT; the running
    service describes itself at /openapi.json.
    """  # noqa: E501 - one line to copy
    from porcelain.bundle import load_bundle
    from porcelain.errors import UserError
    from sampling.finding import find_base
    from services.auth import BearerKeys
    from services.generator.settings import GeneratorSettings
    from services.launch import serve as serve_bento
    from services.settings import environment_of, load_settings

    if bundle is None:
        raise UserError("Say which model to serve with --bundle DIR, or set PORCELAIN_BUNDLE.")
    given = {"bundle": bundle.resolve(), "workers": workers, "device": device, "base": base}
    os.environ.update(environment_of(**given))
    settings = load_settings(GeneratorSettings)
    info = load_bundle(settings.bundle, "generator").generator  # refuse here, once
    find_base(info.base, settings.base)
    BearerKeys(settings.key_file)
    # Threads that spin while they wait make torch many times slower where cores are shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    serve_bento(
        "services.generator.service:GeneratorService", host, port, settings.shutdown_seconds
    )


@app.command()
def studio(
    classifier: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where the classifier is served; default port 3000 here."),
    ] = None,
    generator: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where the generator is served; default port 3001 here."),
    ] = None,
    port: Port = 3002,
    host: Host = "127.0.0.1",
    review_folder: ReviewFolder = None,
    pictures: Pictures = None,
) -> None:
    """Open a page for curators: classify, generate, review.

    [bold]Start:[/] porcelain serve studio --classifier http://127.0.0.1:3000 --generator http://127.0.0.1:3001

    Keys of the two services are PORCELAIN_CLASSIFIER_KEY and PORCELAIN_GENERATOR_KEY. Whoever
    reaches the page may use both services: keep it on this machine, or behind a login. Where it is
    reached by a name, not as localhost or by its IP address, put that into PORCELAIN_STUDIO_HOSTS.
    """
    from services.settings import environment_of, load_settings
    from services.studio.app import run
    from services.studio.settings import StudioSettings

    given = {
        "classifier_url": classifier,
        "generator_url": generator,
        "review_folder": review_folder.resolve() if review_folder else None,
        "training_pictures": pictures.resolve() if pictures else None,
    }
    os.environ.update(environment_of(**given))
    run(load_settings(StudioSettings), host, port)


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="Who gets it; the service's logs name it.")],
    add_to: Annotated[
        Path | None, typer.Option(help="Key file to which the key's hash is added.")
    ] = None,
) -> None:
    """Make a bearer key; a service knows it by its hash, in the file that PORCELAIN_KEY_FILE names.

    [bold]Make:[/] porcelain serve key museum --add-to classifier.keys

    [bold]Ask:[/] curl -H "Authorization: Bearer KEY" -F image=@vase.jpg http://127.0.0.1:3000/v1/classify

    A running service reads the file again by itself when it changes: to revoke a key, delete its line.
    """  # noqa: E501 - one line to copy
    from porcelain.cli.console import console
    from services.auth import add_key, new_key

    made, line = new_key(name)
    if add_to is None:
        console().print(f"Line for the key file: {line}", markup=False, soft_wrap=True)
    else:
        add_key(add_to, line)
        console().print(f"Added {name} to {add_to}.", markup=False, soft_wrap=True)
    console().print("The key, shown this once:", markup=False)
    typer.echo(made)


@app.command("all")
def both(
    classifier_bundle: Annotated[
        Path, typer.Option("--classifier", help="Classifier bundle to serve.")
    ],
    generator_bundle: Annotated[
        Path, typer.Option("--generator", help="Generator bundle to serve.")
    ],
    host: Host = "127.0.0.1",
    classifier_port: Port = 3000,
    generator_port: Port = 3001,
    studio_port: Port = 3002,
    review_folder: ReviewFolder = None,
    pictures: Pictures = None,
) -> None:
    """Serve both models and the studio on this machine, until one stops or Ctrl-C.

    [bold]Start:[/] porcelain serve all --classifier runs/classifier --generator runs/generator
    """
    from porcelain.cli.console import console
    from services.launch import run_side_by_side
    from services.settings import ServiceSettings, load_settings

    def reach(port: int) -> str:
        here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"http://[{here}]:{port}" if ":" in here else f"http://{here}:{port}"

    listening = {"classifier": classifier_port, "generator": generator_port}
    bundles = {"classifier": classifier_bundle, "generator": generator_bundle}
    commands = {
        f"{kind} service": [
            *("serve", kind, "--bundle", str(bundles[kind])),
            *("--host", host, "--port", str(port)),
        ]
        for kind, port in listening.items()
    }
    folders = {"--review-folder": review_folder, "--pictures": pictures}
    commands["studio"] = [
        *("serve", "studio", "--host", host, "--port", str(studio_port)),
        *(word for kind in listening for word in (f"--{kind}", reach(listening[kind]))),
        *(word for option, folder in folders.items() if folder for word in (option, str(folder))),
    ]

    def announce() -> None:
        for kind, port in listening.items():
            console().print(f"{kind}: {reach(port)} (described at /openapi.json)", markup=False)
        console().print(f"studio: {reach(studio_port)}  <- open this one", markup=False)

    # Longer than a service takes to finish what it has: it ends itself.
    settings = load_settings(ServiceSettings, bundle=classifier_bundle)
    run_side_by_side(commands, settings.shutdown_seconds + 10, announce)
