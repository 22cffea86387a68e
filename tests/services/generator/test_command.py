"""`porcelain serve generator` with a mistake: one clear line and status 2."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from pathlib import Path


def test_mistakes_are_one_clear_line(
    refused: Callable[..., str], generator_bundle: Path, generator_base: Path, tmp_path: Path
) -> None:
    given = ("--bundle", str(generator_bundle))
    assert "--bundle" in refused("generator")
    assert "bundle.json" in refused("generator", "--bundle", str(tmp_path))
    assert "PORCELAIN_DEVICE=tpu" in refused("generator", *given, "--device", "tpu")
    assert "PORCELAIN_MAX_BATCH=0" in refused("generator", *given, PORCELAIN_MAX_BATCH="0")
    assert "no-such-base" in refused("generator", *given, "--base", "no-such-base")
    other = shutil.copytree(generator_base, tmp_path / "other")
    (other / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    assert "not the base model" in refused("generator", *given, "--base", str(other))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in refused("generator", *given, "--port", port)
    altered = shutil.copytree(generator_bundle, tmp_path / "altered")
    (altered / "lora" / "pytorch_lora_weights.safetensors").write_bytes(b"x")
    assert "SHA-256" in refused("generator", "--bundle", str(altered))


def test_a_classifier_bundle_is_not_served(refused: Callable[..., str], bundle: Path) -> None:
    assert "generator bundle" in refused("generator", "--bundle", str(bundle))
