"""Explanations by the predictor, of a model whose reasons are known: it sees colour alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from porcelain.bundle import load_bundle
from porcelain.errors import UserError
from porcelain.predictor import Predictor
from tests.services.conftest import GRID, write_colour_bundle


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("bundle") / "colours"
    return Predictor(load_bundle(write_colour_bundle(folder), "classifier"))


def patches(*places: tuple[str, int, int]) -> np.ndarray:
    """A grey picture with patches of 56 pixels, each a colour, a row and a column."""
    picture = np.full((224, 224, 3), 128, dtype=np.uint8)
    colours = {"red": (250, 20, 20), "blue": (20, 20, 250)}
    for colour, row, column in places:
        picture[row : row + 56, column : column + 56] = colours[colour]
    return picture


def test_the_map_shows_what_spoke_for_the_answer_and_what_against(predictor: Predictor) -> None:
    picture = patches(("red", 32, 32), ("red", 32, 128), ("blue", 140, 100))
    outputs = predictor.run(picture[np.newaxis], activation=True)
    assert outputs.probabilities["glaze"].argmax() == 0
    assert outputs.activation is not None
    assert outputs.activation.shape == (1, 4, GRID, GRID)
    for cells in outputs.activation[0]:
        assert cells[1:3, 1:3].mean() > 5 * np.abs(cells[6]).mean()
        assert cells[1:3, 4:6].mean() > 5 * np.abs(cells[6]).mean()
        assert cells[5, 3:5].mean() < 0


def test_a_picture_is_explained_alone_as_in_company(predictor: Predictor) -> None:
    pictures = np.stack([patches(("red", 20, 20)), patches(("blue", 100, 150))])
    both = predictor.run(pictures, activation=True).activation
    alone = predictor.run(pictures[1:], activation=True).activation
    assert both is not None
    assert alone is not None
    np.testing.assert_allclose(both[1], alone[0], atol=1e-5)
    assert np.abs(both[0] - both[1]).max() > 0.05


def test_nothing_is_explained_unless_asked_for(predictor: Predictor) -> None:
    pictures = np.stack([patches(("red", 20, 20))] * 2)
    assert predictor.run(pictures).activation is None
    assert predictor.run(pictures[:0], activation=True).activation.shape == (0, 4, GRID, GRID)


def test_it_does_not_go_on_with_the_cpu_in_place_of_a_gpu(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As with onnxruntime-gpu where the driver or a library is missing: it only warns.
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    with pytest.raises(UserError, match="cannot use cuda"):
        Predictor(predictor.bundle, device="cuda")


def test_nothing_is_told_to_the_makers_of_onnx_runtime(tmp_path: Path) -> None:
    """Its releases for Linux keep an id of the device and a queue of events to send home."""
    bundle = write_colour_bundle(tmp_path / "colours")
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "from pathlib import Path; from porcelain.bundle import load_bundle; "
        "from porcelain.predictor import Predictor; "
        f"Predictor(load_bundle(Path({str(bundle)!r}), 'classifier'))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert [path for path in home.rglob("*") if path.is_file()] == []
