from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.sampling.tiny_bundle import make_tiny_bundle
from tests.sampling.tiny_pipeline import make_tiny_pipeline


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tiny tensors only wait for each other on several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model in Stable Diffusion 1.5's layout."""
    return make_tiny_pipeline(tmp_path_factory.mktemp("first") / "base")


@pytest.fixture(scope="session")
def second_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model in Stable Diffusion 2.1's layout, which predicts velocity."""
    folder = tmp_path_factory.mktemp("second") / "base"
    return make_tiny_pipeline(folder, prediction_type="v_prediction", seed=2)


@pytest.fixture(scope="session")
def bundle_folder(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for `base`, with adapters on the UNet and the text encoder."""
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny", base, text_encoder=True)
