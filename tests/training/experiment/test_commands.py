"""`porcelain experiment run` and `split` as people meet them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from porcelain.cli import main as cli
from training.data.split import read_split
from training.experiment.records import read_results

SMALL = [
    "--backbone", "mobilenetv3_small_050", "--pretrained", "none", "--epochs", "1",
    "--input-size", "32", "--folds", "2", "--seeds", "1", "--workers", "1", "--device", "cpu",
]  # fmt: skip


def run(monkeypatch, capsys, *arguments: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["porcelain", "experiment", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as exit_:
        status = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    else:
        status = 0
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_run_leaves_an_experiment_and_goes_on_where_it_is(
    monkeypatch, capsys, tmp_path, photographs, synthetic
):
    arguments = ["run", "--data", photographs, "--synthetic", synthetic, "--ratios", "0,10",
                 "--arms", "real,mix", "--out", tmp_path / "experiment", *SMALL]  # fmt: skip
    status, out, err = run(monkeypatch, capsys, *arguments, "--json")
    assert status == 0, err
    result = json.loads(out)
    assert (result["units"], result["trained"]) == (4, 4)
    assert result["arms"] == ["real", "mix-90-10"]
    assert result["tested"] < result["photographs"]
    assert "never tested" in result["notes"][0]
    assert "porcelain experiment report" in err
    assert len(read_results(tmp_path / "experiment").units) == 4
    status, out, _ = run(monkeypatch, capsys, *arguments, "--json", "--shard", "1/2")
    assert (json.loads(out)["units"], json.loads(out)["trained"]) == (2, 0)


def test_split_writes_folds_that_test_every_photograph_once(
    monkeypatch, capsys, tmp_path, photographs
):
    folds = tmp_path / "folds"
    status, _, err = run(
        monkeypatch, capsys, "split", "--data", photographs, "--folds", 3, "--out", folds
    )
    assert status == 0, err
    tested = [n for i in range(3) for n in read_split(folds / f"fold-{i}.json").names["test"]]
    assert len(tested) == len(set(tested)) == 60
    status, _, err = run(monkeypatch, capsys, "split", "--data", photographs, "--out", folds)
    assert status == 2
    assert "already exists" in err
    given = folds_taken_out(SMALL)
    arguments = ["--data", photographs, "--splits", folds, "--out", tmp_path / "run", *given]
    status, out, err = run(monkeypatch, capsys, "run", *arguments, "--arms", "real", "--json")
    assert status == 0, err
    assert json.loads(out)["units"] == 3


def folds_taken_out(options: list[str]) -> list[str]:
    place = options.index("--folds")
    return options[:place] + options[place + 2 :]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ratios", "0,ten"], "must be percentages"),
        (["--ratios", "0,95"], "percentages from 0 to 90"),
        (["--arms", "real,,mix"], "commas between"),
        (["--folder", "Mine"], "NAME=DIR"),
        (["--folder", "mix=DIR"], "NAME=DIR"),
        (["--shard", "2/2"], "--shard 2/2"),
        (["--backbone", "mobilenet"], "timm has no model"),
        (["--pretrained", "nowhere.safetensors"], "no such file"),
        (["--untuned", "nowhere"], "is not a folder"),
        (["--synthetic", "made-{fold}"], "made-0 is not a folder"),
        (["--generator", "nowhere", "--shard", "0/2"], "--shard shares out trainings"),
        (["--generator", "nowhere"], "is not a bundle"),
        (["--arms", "mix"], "needs synthetic pictures"),
        (["--splits", "nowhere"], "no split file"),
        (["--folds", "61"], "as many objects"),
    ],
)
def test_a_mistake_gives_one_line_and_status_2(
    monkeypatch, capsys, tmp_path, photographs, options, message
):
    out = tmp_path / "experiment"
    base = ["run", "--data", photographs, "--out", out, *SMALL]
    status, _, err = run(monkeypatch, capsys, *base, *options)
    assert status == 2
    line = [line for line in err.splitlines() if "Error" in line]
    assert len(line) == 1
    assert message in line[0]
    assert "Traceback" not in err


def test_a_folder_with_other_things_in_it_is_left_alone(monkeypatch, capsys, tmp_path, photographs):
    (tmp_path / "notes.txt").write_text("mine")
    for options in ([], ["--overwrite"]):
        status, _, err = run(
            monkeypatch, capsys, "run", "--data", photographs, "--out", tmp_path, *SMALL, *options
        )
        assert status == 2
        assert "holds notes.txt" in err
    assert [path.name for path in Path(tmp_path).iterdir()] == ["notes.txt"]
