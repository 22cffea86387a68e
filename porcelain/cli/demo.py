"""`porcelain demo`: from nothing to a REST answer and a report, by a user's own commands."""

from __future__ import annotations

import base64
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from porcelain.cli.console import console, done
from porcelain.cli.local_server import post, serving
from porcelain.dataset import Record, load_dataset
from porcelain.errors import PorcelainError, UserError
from porcelain.files import write_bytes
from porcelain.vocabulary import TASKS

SIDE = 128
"""Pixels a side in the experiment: the base's own size, and twice as fast as 224."""

AGREEMENT = 0.2
"""Least probability of a planned label: a classifier of so few pictures is seldom sure."""


def demo(
    out: Annotated[Path, typer.Option(help="Where to keep what the demo makes.")] = Path("demo"),
    count: Annotated[int, typer.Option(min=60, help="Pictures to render.")] = 900,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the pictures.")] = 30,
    backbone: Annotated[str, typer.Option(help="Any timm model.")] = "mobilenetv3_small_100",
    pretrained: Annotated[str, typer.Option(help="auto, none, or a safetensors file.")] = "auto",
    steps: Annotated[int, typer.Option(min=1, help="Of the generator's LoRA.")] = 300,
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions of the experiment.")] = 2,
    seed: Annotated[int, typer.Option(help="Same seed, same pictures and models.")] = 0,
) -> None:
    """Render pictures, train both models on them, serve them, and measure whether mixing helps.

    Every step is a command of its own and is printed before it runs. Steps whose result is
    already there are left out, so an interrupted demo goes on where it was.

    Example: porcelain demo --count 1500 --epochs 40 --seeds 5
    """
    photos, classifier, report = out / "photos", out / "classifier", out / "report"
    generator, synthetic, experiment = out / "generator", out / "synthetic", out / "experiment"
    data, common = ("--data", str(photos)), ("--seed", str(seed))
    model = ("--backbone", backbone, "--pretrained", pretrained)
    out.mkdir(parents=True, exist_ok=True)
    _step(photos, "data", "render", "--out", str(photos), "--count", str(count), *common)
    _step(photos / "split.json", "data", "split", str(photos), *common)
    _step(
        classifier,
        *("classifier", "train", *data, "--out", str(classifier), *model),
        *("--epochs", str(epochs), "--logs", str(out / "logs"), "--name", "demo-classifier"),
        *("--no-refit", *common),
    )
    _step(
        report,
        *("classifier", "evaluate", "--bundle", str(classifier), *data, "--out", str(report)),
    )
    _step(
        generator,
        *("generator", "train", *data, "--out", str(generator), "--steps", str(steps)),
        *("--name", "demo-generator", *common),
    )
    _step(
        synthetic,
        *("generator", "synthesize", "--bundle", str(generator), *data),
        *("--classifier", str(classifier), "--agreement", str(AGREEMENT)),
        *("--attempts", "3", "--out", str(synthetic), *common),
    )
    compared = experiment / "report" / "report.html"
    _step(
        compared,
        *("experiment", "run", *data, "--synthetic", str(synthetic), "--out", str(experiment)),
        *(*model, "--ratios", "0,10", "--arms", "real,mix,oversample", "--seeds", str(seeds)),
        *("--folds", "3", "--epochs", str(max(1, epochs // 3)), "--input-size", str(SIDE)),
    )
    _step(compared, "experiment", "report", str(experiment))
    _ask_generator(generator, photos, out)
    _ask_classifier(classifier, photos, out)
    console().print(f"The classifier's report: {report / 'report.html'}", markup=False)
    console().print(f"What the generator made: {synthetic / 'report.html'}", markup=False)
    done(
        f"Whether it helps: {compared}",
        f"porcelain serve classifier --bundle {classifier}   (or: make serve)",
    )


def _step(result: Path, *command: str) -> None:
    """Run one porcelain command unless its result is already there."""
    shown = shlex.join(["porcelain", *command])
    if result.is_file() or (result.is_dir() and any(result.iterdir())):
        console().print(f"\n{result} is there already; left out: {shown}", markup=False)
        return
    console().print(f"\n$ {shown}", markup=False, soft_wrap=True, style="bold")
    status = subprocess.run([sys.executable, "-m", "porcelain", *command], check=False).returncode
    if status:
        raise PorcelainError(f"The demo stopped, because this command failed: {shown}")


def _ask_generator(bundle: Path, photos: Path, out: Path) -> None:
    """Have the service make a picture like a photograph's labels, and keep it."""
    _, record = _test_picture(photos)
    wanted = {task: label for task in ("glaze", "type") if (label := record.labels[task])}
    body = json.dumps(wanted | {"seed": 1})
    with serving("generator", bundle, out / "serve-generator.log") as address:
        url = f"{address}/v1/generate"
        command = f"$ curl -H 'Content-Type: application/json' -d '{body}' {url}"
        console().print(f"\n{command}", markup=False, soft_wrap=True)
        picture = post(url, body.encode(), "application/json")["images"][0]
    write_bytes(out / "generated.png", base64.b64decode(picture["data"]))
    console().print(f"{picture['prompt']}: see {out / 'generated.png'}", markup=False)


def _ask_classifier(bundle: Path, photos: Path, out: Path) -> None:
    """Ask the service about a picture that the model has not learned from."""
    picture, record = _test_picture(photos)
    with serving("classifier", bundle, out / "serve.log") as address:
        url = f"{address}/v1/classify"
        console().print(f"\n$ curl -F image=@{picture} {url}", markup=False, soft_wrap=True)
        answer = post(url, picture.read_bytes(), "image/jpeg")
    _show(Console(), answer, record)


def _test_picture(photos: Path) -> tuple[Path, Record]:
    """A picture that the model has not learned from, fully labelled where there is one."""
    split = json.loads((photos / "split.json").read_text(encoding="utf-8"))
    names = set(split["subsets"]["test"])
    dataset = load_dataset(photos)
    unseen = [record for record in dataset.records if record.file_name in names]
    if not unseen:
        raise UserError(f"{photos} has no test pictures; render more with --count.")
    record = max(unseen, key=lambda r: sum(r.labels[task] is not None for task in TASKS))
    return dataset.path(record), record


def _show(out: Console, answer: dict[str, Any], record: Record) -> None:
    table = Table("task", "answer", "probability", "truth", title=record.file_name)
    for task, prediction in answer["predictions"].items():
        unsure = " (not sure)" if prediction["abstained"] else ""
        table.add_row(
            task,
            prediction["label"] + unsure,
            f"{prediction['probability']:.2f}",
            record.labels[task] or "unknown",
        )
    out.print(table)
