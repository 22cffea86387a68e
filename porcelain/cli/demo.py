"""`porcelain demo`: from nothing to a REST answer, by the commands that a user would type."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from porcelain.cli.console import console, done
from porcelain.dataset import Record, load_dataset
from porcelain.errors import PorcelainError, UserError
from porcelain.vocabulary import TASKS

READY_SECONDS = 60.0


def demo(
    out: Annotated[Path, typer.Option(help="Where to keep what the demo makes.")] = Path("demo"),
    count: Annotated[int, typer.Option(min=60, help="Pictures to render.")] = 900,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the pictures.")] = 30,
    backbone: Annotated[str, typer.Option(help="Any timm model.")] = "mobilenetv3_small_100",
    pretrained: Annotated[str, typer.Option(help="auto, none, or a safetensors file.")] = "auto",
    seed: Annotated[int, typer.Option(help="Same seed, same pictures and model.")] = 0,
) -> None:
    """Render pictures, train on them, serve the model and ask it about a picture.

    Every step is a command of its own and is printed before it runs. Steps whose result is
    already there are left out, so an interrupted demo goes on where it was.

    Example: porcelain demo --count 1500 --epochs 40
    """
    photos, bundle, report = out / "photos", out / "classifier", out / "report"
    out.mkdir(parents=True, exist_ok=True)
    common = ["--seed", str(seed)]
    _step(photos, "data", "render", "--out", str(photos), "--count", str(count), *common)
    _step(photos / "split.json", "data", "split", str(photos), *common)
    _step(
        bundle,
        *("classifier", "train", "--data", str(photos), "--out", str(bundle)),
        *("--backbone", backbone, "--pretrained", pretrained, "--epochs", str(epochs)),
        *("--logs", str(out / "logs"), "--name", "demo-classifier", "--no-refit", *common),
    )
    _step(
        report,
        *("classifier", "evaluate", "--bundle", str(bundle), "--data", str(photos)),
        *("--out", str(report)),
    )
    picture, record = _test_picture(photos)
    port = free_port()
    with _server(bundle, port, out / "serve.log"):
        url = f"http://127.0.0.1:{port}/v1/classify"
        console().print(f"\n$ curl -F image=@{picture} {url}", markup=False, soft_wrap=True)
        answer = _ask(url, picture)
    _show(Console(), answer, record)
    done(
        f"Report for people: {report / 'report.html'}",
        f"porcelain serve classifier --bundle {bundle}   (or: make serve)",
    )


def free_port() -> int:
    """A TCP port on the loopback address that nothing listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


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


@contextmanager
def _server(bundle: Path, port: int, log: Path) -> Iterator[None]:
    """The classifier service as a process of its own, ready to answer."""
    command = ["serve", "classifier", "--bundle", str(bundle), "--port", str(port)]
    console().print(f"\n$ {shlex.join(['porcelain', *command])}", markup=False, style="bold")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "porcelain", *command], stdout=output, stderr=output
        )
        try:
            _wait_until_ready(process, port, log)
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    started = time.monotonic()
    while time.monotonic() - started < READY_SECONDS:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
                console().print(f"Ready after {time.monotonic() - started:.1f} s")
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise PorcelainError(f"The service did not become ready; see {log}.")


def _ask(url: str, picture: Path) -> dict[str, Any]:
    request = urllib.request.Request(
        url, data=picture.read_bytes(), headers={"Content-Type": "image/jpeg"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            answer: dict[str, Any] = json.load(response)
            return answer
    except urllib.error.HTTPError as error:
        raise PorcelainError(f"{url} answered {error.code}: {error.read().decode()}") from error


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
