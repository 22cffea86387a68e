"""`porcelain serve generator` with a mistake: one clear line and status 2."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from porcelain.cli.main import main


@pytest.fixture
def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Run the command; returns the one line that it says."""

    def run(*options: str, **environment: str) -> str:
        with monkeypatch.context() as patch:
            patch.setattr(os, "environ", {**os.environ, **environment})
            patch.setattr(sys, "argv", ["porcelain", "serve", "generator", *options])
            with pytest.raises(SystemExit) as ended:
                main()
        assert ended.value.code == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    return run


def test_mistakes_are_one_clear_line(
    refused: Callable[..., str], generator_bundle: Path, generator_base: Path, tmp_path: Path
) -> None:
    given = ("--bundle", str(generator_bundle))
    assert "--bundle" in refused()
    assert "bundle.json" in refused("--bundle", str(tmp_path))
    assert "PORCELAIN_DEVICE=tpu" in refused(*given, "--device", "tpu")
    assert "PORCELAIN_MAX_BATCH=0" in refused(*given, PORCELAIN_MAX_BATCH="0")
    assert "no-such-base" in refused(*given, "--base", "no-such-base")
    other = shutil.copytree(generator_base, tmp_path / "other")
    (other / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    assert "not the base model" in refused(*given, "--base", str(other))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in refused(*given, "--port", port)
    altered = shutil.copytree(generator_bundle, tmp_path / "altered")
    (altered / "lora" / "pytorch_lora_weights.safetensors").write_bytes(b"x")
    assert "SHA-256" in refused("--bundle", str(altered))


def test_a_classifier_bundle_is_not_served(refused: Callable[..., str], bundle: Path) -> None:
    assert "generator bundle" in refused("--bundle", str(bundle))
