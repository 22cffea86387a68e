"""`porcelain demo`: from nothing to a REST answer and a report, by a user's own commands."""

from __future__ import annotations

import base64
import json
import shlex
import subprocess
import sys
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from porcelain.cli.console import console, done
from porcelain.cli.local_server import post, serving
from porcelain.errors import PorcelainError, UserError
from porcelain.files import write_bytes, write_text

if TYPE_CHECKING:
    from porcelain.dataset import Record

SIDE = 96
"""Pixels a side in the experiment, which is to show what one looks like within minutes."""

RATIO = 10
"""Most added pictures in percent; fewer where the filter keeps fewer."""

PAGE = "index.html"
"""The page that shows what was made and leads to the reports, in the demo's folder."""

SHOWN = 6
"""Generated pictures on it."""


def demo(
    out: Annotated[Path, typer.Option(help="Where to keep what the demo makes.")] = Path("demo"),
    count: Annotated[int, typer.Option(min=60, help="Pictures to render.")] = 900,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the pictures.")] = 30,
    backbone: Annotated[str, typer.Option(help="Any timm model.")] = "mobilenetv3_small_100",
    pretrained: Annotated[str, typer.Option(help="auto, none, or a safetensors file.")] = "auto",
    steps: Annotated[int, typer.Option(min=1, help="Of the generator's LoRA.")] = 300,
    agreement: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="How sure the filter must be of a label: a young one seldom is."
        ),
    ] = 0.2,
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions of the experiment.")] = 2,
    seed: Annotated[int, typer.Option(help="Same seed, same pictures and models.")] = 0,
) -> None:
    """Render pictures, train both models on them, serve them, and measure whether mixing helps.

    Ends with one page to open, which shows what was made and leads to the reports. Every step is
    a command of its own and is printed before it runs. Steps whose result is already there are
    left out, so an interrupted demo goes on where it was.

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
        *("--members", "1", "--no-refit", *common),
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
        *("--classifier", str(classifier), "--agreement", str(agreement)),
        *("--attempts", "3", "--out", str(synthetic), *common),
    )
    ratio = _ratio(synthetic, photos)
    compared = experiment / "report" / "report.html"
    _step(
        compared,
        *("experiment", "run", *data, "--synthetic", str(synthetic), "--out", str(experiment)),
        *(*model, "--ratios", f"0,{ratio}", "--arms", "real,mix", "--seeds", str(seeds)),
        *("--folds", "2", "--epochs", str(max(1, epochs // 4)), "--input-size", str(SIDE)),
    )
    _step(compared, "experiment", "report", str(experiment))
    _ask_generator(generator, out)
    picture, record, answer = _ask_classifier(classifier, photos, out)
    write_text(out / PAGE, _page(out, count, picture, record, answer))
    done(
        f"Open {out / PAGE}: what was made, and the three reports",
        f"porcelain serve classifier --bundle {classifier}   (or: make serve)",
    )


def _step(result: Path, *command: str) -> None:
    """Run one porcelain command unless its result is already there."""
    shown = shlex.join(["porcelain", *command])
    if result.is_file() or (result.is_dir() and any(result.iterdir())):
        console().print(
            f"\n{result} is there already; left out: {shown}", markup=False, soft_wrap=True
        )
        return
    console().print(f"\n$ {shown}", markup=False, soft_wrap=True, style="bold")
    status = subprocess.run([sys.executable, "-m", "porcelain", *command], check=False).returncode
    if status:
        raise PorcelainError(f"The demo stopped, because this command failed: {shown}")


def _ratio(synthetic: Path, photos: Path) -> int:
    """As many percent of synthetic pictures as there are for every fold, up to `RATIO`.

    Raises:
        UserError: There are too few for one percent.
    """
    from porcelain.dataset import load_dataset

    made, real = len(load_dataset(synthetic)), len(load_dataset(photos))
    ratio = min(RATIO, 100 * made // (made + real))
    if ratio == 0:
        raise UserError(
            f"The filter kept {made} pictures beside {real} real ones, too few to compare; see "
            f"{synthetic / 'report.html'}, and try more --steps, or remove {synthetic} and lower "
            "--agreement."
        )
    return ratio


def _ask_generator(bundle: Path, out: Path) -> None:
    """Have the service make a picture of a kind that it has often seen, and keep it."""
    from porcelain.bundle import load_bundle

    combinations = load_bundle(bundle, "generator").generator.combinations
    whole = max(combinations, key=lambda seen: (len(seen.labels), seen.count))
    body = json.dumps(whole.labels | {"seed": 1})
    with serving("generator", bundle, out / "serve-generator.log") as address:
        url = f"{address}/v1/generate"
        command = f"$ curl -H 'Content-Type: application/json' -d '{body}' {url}"
        console().print(f"\n{command}", markup=False, soft_wrap=True)
        picture = post(url, body.encode(), "application/json")["images"][0]
    write_bytes(out / "generated.png", base64.b64decode(picture["data"]))
    shown = f"{picture['prompt']}: see {out / 'generated.png'}"
    console().print(shown, markup=False, soft_wrap=True)


def _ask_classifier(bundle: Path, photos: Path, out: Path) -> tuple[Path, Record, dict[str, Any]]:
    """Ask the service about a picture that the model has not learned from."""
    picture, record = _test_picture(photos)
    with serving("classifier", bundle, out / "serve.log") as address:
        url = f"{address}/v1/classify"
        console().print(f"\n$ curl -F image=@{picture} {url}", markup=False, soft_wrap=True)
        answer = post(url, picture.read_bytes(), "image/jpeg")
    _show(Console(), answer, record)
    return picture, record, answer


def _test_picture(photos: Path) -> tuple[Path, Record]:
    """A picture that the model has not learned from, fully labelled where there is one."""
    from porcelain.dataset import load_dataset
    from porcelain.vocabulary import TASKS

    split = json.loads((photos / "split.json").read_text(encoding="utf-8"))
    names = set(split["subsets"]["test"])
    dataset = load_dataset(photos)
    unseen = [record for record in dataset.records if record.file_name in names]
    if not unseen:
        raise UserError(f"{photos} has no test pictures; render more with --count.")
    record = max(unseen, key=lambda r: sum(r.labels[task] is not None for task in TASKS))
    return dataset.path(record), record


def _rows(answer: dict[str, Any], record: Record) -> list[tuple[str, str, str, str]]:
    """Task, answer, probability and truth, for people."""
    rows = []
    for task, prediction in answer["predictions"].items():
        unsure = " (not sure)" if prediction["abstained"] else ""
        rows.append(
            (
                task,
                prediction["label"] + unsure,
                f"{prediction['probability']:.2f}",
                record.labels[task] or "unknown",
            )
        )
    return rows


def _show(out: Console, answer: dict[str, Any], record: Record) -> None:
    table = Table("task", "answer", "probability", "truth", title=record.file_name)
    for row in _rows(answer, record):
        table.add_row(*row)
    out.print(table)


def _page(out: Path, count: int, picture: Path, record: Record, answer: dict[str, Any]) -> str:
    """The page to open: its pictures and reports are named relative to the demo's folder."""
    compared = json.loads((out / "experiment/report/report.json").read_text(encoding="utf-8"))
    images = sorted((out / "synthetic/images").iterdir())[:SHOWN]
    head = "".join(f"<th>{name}" for name in ("task", "answer", "probability", "truth"))
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}" for cell in row) for row in _rows(answer, record)
    )
    template = Template(files("porcelain.cli").joinpath("demo.html").read_text(encoding="utf-8"))
    return template.substitute(
        count=count,
        picture=escape(picture.relative_to(out).as_posix()),
        answers=f"<table><tr>{head}{body}</table>",
        made="".join(
            f'<img src="{escape(image.relative_to(out).as_posix())}" alt="generated picture">'
            for image in (out / "generated.png", *images)
        ),
        verdicts="".join(
            f"<li>{escape(task['recommendation']['sentence'])}"
            for task in compared["tasks"].values()
        ),
    )
