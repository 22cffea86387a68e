"""`porcelain generator train` as it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from porcelain.bundle import load_bundle
from porcelain.errors import UserError
from training.generator.commands import app
from training.generator.lora import pipeline
from training.generator.lora.settings import LoraSettings
from training.generator.lora.verification import Verification


def train(*options: object) -> Result:
    return CliRunner().invoke(app, ["train", *map(str, options)])


def test_it_leaves_a_bundle_and_names_the_next_command(
    photographs: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "verify", lambda *given: Verification(1.0, 0.0))
    options = ["--data", photographs, "--base", base, "--out", tmp_path / "bundle"]
    options += ["--epochs", "0.5", "--rank", "2", "--alpha", "1", "--batch-size", "3"]
    options += ["--learning-rate", "0.01", "--text-encoder", "--gradient-checkpointing"]
    options += ["--accumulation", "3", "--no-flip", "--sampling-steps", "2", "--name", "small"]
    result = train(*options)
    assert result.exit_code == 0, result.output
    assert f"Next: porcelain generator synthesize --bundle {tmp_path / 'bundle'}" in result.output
    bundle = load_bundle(tmp_path / "bundle", "generator")
    assert bundle.manifest.name == "small"
    assert (bundle.generator.rank, bundle.generator.alpha) == (2, 1.0)
    assert bundle.generator.text_encoder
    settings = LoraSettings.model_validate_json((bundle.path / "settings.json").read_text())
    assert settings.steps == 2  # half of twelve photographs, three at a time
    assert settings.accumulation == 3
    assert not settings.flip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps", "3", "--epochs", "2"], "--epochs.*not together with --steps"),
        (["--rarity-power", "2", "--prompt-dropout", "1"], "--prompt-dropout.*--rarity-power"),
        (["--learning-rate", "0"], "--learning-rate"),
        (["--base", "nowhere/at-all/no"], "no base model"),
    ],
)
def test_mistakes_are_told_in_one_line(
    photographs: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    result = train("--data", photographs, "--out", tmp_path / "bundle", *options)
    assert isinstance(result.exception, UserError)
    assert "\n" not in str(result.exception)
    with pytest.raises(UserError, match=message):
        raise result.exception
