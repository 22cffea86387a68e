"""The command line as people meet it: help, mistakes, exit statuses, JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer.main
from typer.testing import CliRunner

from porcelain import __version__
from porcelain.cli import main as cli
from porcelain.cli.console import Stages
from porcelain.dataset import load_dataset
from tests.training.data.folders import collection, jpeg_of, record, vessel, write_folder

HEAVY = {"torch", "torchvision", "timm", "bentoml", "sklearn", "vtk", "pyvista", "onnxruntime"}
HEAVY |= {"numpy", "PIL", "pydantic", "pyarrow", "yaml"}  # half a second of every command


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path
    else:
        for name, child in children.items():
            yield from leaves(child, (*path, name))


COMMANDS = sorted(leaves(typer.main.get_command(cli.build_app())))


def run(monkeypatch, capsys, *arguments: object) -> tuple[int, str, str]:
    """Status, standard output and standard error of `porcelain ARGUMENTS`."""
    monkeypatch.setattr(sys, "argv", ["porcelain", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as exit_:
        status = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    else:
        status = 0
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_commands_that_others_rely_on_are_there():
    promised = {("data", name) for name in ("render", "check", "split", "mix")}
    promised |= {("classifier", name) for name in ("train", "evaluate", "export")}
    promised |= {("generator", name) for name in ("pretrain", "train", "synthesize", "evaluate")}
    promised |= {("experiment", name) for name in ("power", "split", "run", "report")}
    promised |= {("batch", name) for name in ("classify", "generate")}
    promised |= {("serve", name) for name in ("classifier", "generator", "all")}
    promised |= {("bento", "build", name) for name in ("classifier", "generator")}
    ways = ("table", "folders", "label-studio", "huggingface", "museum")
    promised |= {("verify",), ("demo",), *(("data", "import", way) for way in ways)}
    assert promised <= set(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_teaches_by_example(path):
    result = CliRunner().invoke(cli.build_app(), [*path, "--help"], env={"COLUMNS": "160"})
    assert result.exit_code == 0
    taught = result.output.split("Usage:", 1)[1].split("\n", 1)[1]
    assert "porcelain " + " ".join(path) in taught


def test_help_without_arguments_and_version(monkeypatch, capsys):
    status, out, _ = run(monkeypatch, capsys, "--version")
    assert (status, out.strip()) == (0, f"porcelain {__version__}")
    _, out, err = run(monkeypatch, capsys)
    assert "porcelain data check" in out + err


@pytest.fixture
def photographs(tmp_path) -> Path:
    return collection(tmp_path / "photographs", 16).root


def mistakes(root: Path, tmp: Path) -> dict[str, tuple[list[object], str]]:
    mix = ["data", "mix", "--real", root, "--synthetic", root, "--out", tmp / "mix"]
    return {
        "no folder": (["data", "check", tmp / "none"], "is not a folder"),
        "brackets in a name": (["data", "check", tmp / "[red]x"], "[red]x is not a folder"),
        "no metadata": (["data", "split", tmp], "has no metadata.csv"),
        "bad ratio": ([*mix, "--ratio", "5"], "must be real:synthetic"),
        "no such task": ([*mix, "--ratio", "95:5", "--task", "hue"], "must be one or more of"),
        "out is a file": (
            [*mix[:-1], root / "metadata.csv", "--ratio", "95:5"],
            "is a file, where a folder is to be written",
        ),
        "nothing to train on": (
            ["data", "split", root, "--test", "0.6", "--validation", "0.4"],
            "leave nothing to train on",
        ),
        "split onto a folder": (["data", "split", root, "--out", tmp], "is a folder"),
        "no split file": (["data", "check", root, "--split", tmp / "s.json"], "no split file"),
        "render over something": (
            ["data", "render", "--out", root, "--count", "1"],
            "--overwrite",
        ),
    }


@pytest.mark.parametrize("case", mistakes(Path(), Path()))
def test_a_mistake_is_one_line_and_status_2(monkeypatch, capsys, photographs, tmp_path, case):
    arguments, message = mistakes(photographs, tmp_path)[case]
    status, out, err = run(monkeypatch, capsys, *arguments)
    assert status == 2
    assert out == ""
    assert err.startswith("Error: ")
    assert message in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["vase"],
        ["data", "burn"],
        ["data", "check"],
        ["data", "render", "--out", "x", "--count", "0"],
        ["data", "render", "--out", "x", "--count", "many"],
        ["data", "mix", "--ratio", "95:5"],
        [
            "data",
            "mix",
            "--real",
            "a",
            "--synthetic",
            "b",
            "--ratio",
            "9:1",
            "--out",
            "c",
            "--rule",
            "x",
        ],
    ],
    ids=" ".join,
)
def test_wrong_arguments_are_status_2_without_traceback(monkeypatch, capsys, arguments):
    status, _, err = run(monkeypatch, capsys, *arguments)
    assert status == 2
    assert "Traceback" not in err
    assert err.strip()


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 2, "porcelain[training]"),
        (PermissionError(13, "Permission denied", "/locked"), 2, "/locked: Permission denied"),
        (KeyboardInterrupt(), 130, "Run the same command again"),
    ],
)
def test_what_goes_wrong_underneath_is_told(monkeypatch, capsys, error, status, message):
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "build_app", lambda: fail)
    found, _, err = run(monkeypatch, capsys)
    assert found == status
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_our_own_faults_are_not_hidden(monkeypatch, capsys):
    def fail() -> None:
        raise ModuleNotFoundError("No module named 'nowhere'", name="nowhere")

    monkeypatch.setattr(cli, "build_app", lambda: fail)
    with pytest.raises(ModuleNotFoundError):
        run(monkeypatch, capsys)


def test_building_the_command_line_imports_nothing_heavy():
    code = (
        "import sys; from porcelain.cli.main import build_app; build_app(); "
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_check_tells_by_status_table_and_json(monkeypatch, capsys, photographs, tmp_path):
    status, out, err = run(monkeypatch, capsys, "data", "check", photographs)
    assert status == 0
    assert "celadon 9" in out
    assert f"Next: porcelain data split {photographs}" in err
    pictures = {f"{i}.jpg": jpeg_of(vessel(i)) for i in range(3)} | {"zero.jpg": b""}
    bad = write_folder(tmp_path / "bad", [record(name) for name in pictures], pictures)
    status, out, _ = run(monkeypatch, capsys, "data", "check", bad)
    assert status == 1
    assert "zero.jpg" in out
    status, out, _ = run(monkeypatch, capsys, "data", "check", bad, "--json")
    assert status == 1
    errors = [f for f in json.loads(out)["findings"] if f["severity"] == "error"]
    assert [(f["code"], f["files"]) for f in errors] == [("empty_file", ["zero.jpg"])]


def test_split_writes_tells_and_keeps(monkeypatch, capsys, photographs):
    status, out, err = run(monkeypatch, capsys, "data", "split", photographs, "--seed", 3)
    assert status == 0
    assert "celadon" in out
    assert "porcelain classifier train --data" in err
    written = (photographs / "split.json").read_bytes()
    status, _, err = run(monkeypatch, capsys, "data", "split", photographs)
    assert (status, "--overwrite" in err) == (2, True)
    assert (photographs / "split.json").read_bytes() == written
    again = ["data", "split", photographs, "--seed", 3, "--overwrite", "--json"]
    status, out, _ = run(monkeypatch, capsys, *again)
    assert status == 0
    assert json.loads(out) == json.loads(written)


def test_mix_writes_and_tells(monkeypatch, capsys, photographs, tmp_path):
    collection(tmp_path / "made", 8, first_seed=400, synthetic=True)
    arguments = ["data", "mix", "--real", photographs, "--synthetic", tmp_path / "made"]
    arguments += ["--ratio", "80:20", "--rule", "uniform", "--out", tmp_path / "mix"]
    status, out, err = run(monkeypatch, capsys, *arguments)
    assert status == 0
    assert "celadon" in out
    assert "% synthetic)" in err
    status, out, _ = run(monkeypatch, capsys, *arguments, "--overwrite", "--json")
    assert status == 0
    report = json.loads(out)
    assert report["synthetic_train"] == round(report["real_train"] / 4)
    assert len(load_dataset(tmp_path / "mix")) == 16 + report["synthetic_train"]


def test_render_writes_a_dataset(monkeypatch, capsys, tmp_path):
    arguments = ["data", "render", "--out", tmp_path / "r", "--count", 2, "--size", 48]
    status, out, err = run(monkeypatch, capsys, *arguments, "--workers", 1, "--json")
    assert status == 0
    assert json.loads(out)["count"] == 2
    assert "porcelain data split" in err
    assert len(load_dataset(tmp_path / "r")) == 2


def test_where_output_is_no_terminal_progress_is_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("porcelain.cli.console.time.monotonic", lambda: now)
    with Stages() as stages:
        for step in range(1, 71):
            now += 1
            stages.report("Decoding pictures", step, 70)
        for epoch in range(1, 4):
            stages.report("Epoch", epoch, 3, "loss 1.00", every=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "Decoding pictures 31/70",
        "Decoding pictures 61/70",
        "Decoding pictures 70/70",
        *(f"Epoch {epoch}/3 loss 1.00" for epoch in range(1, 4)),
    ]
