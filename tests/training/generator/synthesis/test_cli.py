"""The command: options to settings, plans to look at, and how it ends."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from porcelain.errors import UserError
from tests.training.generator.conftest import Painter
from training.generator.commands import app
from training.generator.synthesis.results import SynthesisReport
from training.generator.synthesis.settings import SynthesisSettings, parse_agreement


def run(*options: object):
    return CliRunner().invoke(app, ["synthesize", *map(str, options)])


@pytest.fixture
def given(generator, photographs, classifier, tmp_path) -> list[object]:
    """Options that every run here shares."""
    given = ["--bundle", generator, "--data", photographs, "--classifier", classifier]
    return [*given, "--out", tmp_path / "out", "--width", 160, "--height", 120]


def painting(monkeypatch, painter: Painter) -> None:
    monkeypatch.setattr("sampling.generator.Generator.load", lambda *_, **__: painter)


def test_it_tells_what_it_made_and_what_comes_next(given, tmp_path, monkeypatch):
    painting(monkeypatch, Painter())
    result = run(*given, "--count", 6, "--rule", "uniform", "--agreement", "0.4", "--json")
    assert result.exit_code == 0, result.output
    report = SynthesisReport.model_validate_json(result.stdout)
    assert report.kept == 6
    assert "Plan: 6 pictures" in result.stderr
    assert "What the filter dropped" in result.stderr
    assert f"Wrote {tmp_path / 'out'}: 6 of 6 planned pictures" in result.stderr
    assert "Next: porcelain data mix --real" in result.stderr
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert SynthesisSettings.model_validate(settings) == report.settings


def test_a_dry_run_prints_the_plan_that_plan_follows(given, tmp_path, monkeypatch):
    painter = Painter()
    painting(monkeypatch, painter)
    printed = run(*given, "--ratio", "80:20", "--dry-run")
    assert printed.exit_code == 0, printed.output
    assert not painter.sampled
    assert not (tmp_path / "out").exists()
    rows = [line.split(",") for line in printed.stdout.splitlines()]
    assert rows[0] == ["dynasty", "glaze", "kiln", "type", "count", "photographs"]
    plan = tmp_path / "plan.csv"
    plan.write_text("".join([printed.stdout.splitlines()[0] + "\n", ",".join(rows[1]) + "\n"]))
    followed = run(*given, "--plan", plan, "--agreement", "0.4", "--json")
    assert followed.exit_code == 0, followed.output
    (kind,) = json.loads(followed.stdout)["kinds"]
    assert [*kind["labels"].values(), str(kind["planned"])] == rows[1][:5]


def test_nothing_but_bundle_and_out_is_needed(generator, tmp_path):
    result = run("--bundle", generator, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "metadata.csv").is_file()
    assert "Give --classifier" in result.stderr


def test_it_ends_with_status_one_where_nothing_passed(given, tmp_path, monkeypatch):
    class Blind(Painter):
        def _paint(self, request, width, height):
            return np.zeros((height, width, 3), np.uint8)

    painting(monkeypatch, Blind())
    result = run(*given, "--count", 2, "--attempts", 2)
    assert result.exit_code == 1
    assert "report.html" in result.stderr
    assert "blank" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        (["--ratio", "90"], "real:synthetic"),
        (["--task", "colour"], "--tasks"),
        (["--agreement", "colour=0.5"], "--agreement"),
        (["--labels", "vase"], "--labels"),
    ],
)
def test_mistakes_are_told_in_a_sentence(given, options, pattern):
    result = run(*given, *options)
    assert isinstance(result.exception, UserError)
    assert pattern in str(result.exception)


def test_agreement_for_all_and_for_one():
    assert parse_agreement([]) is None
    parsed = parse_agreement(["0.6", "glaze=0.3"])
    assert parsed == {"dynasty": 0.6, "glaze": 0.3, "kiln": 0.6, "type": 0.6}
    for text in ("", "glaze", "1.5", "nan", "glaze=", "-0.1"):
        with pytest.raises(UserError, match="--agreement"):
            parse_agreement([text])
