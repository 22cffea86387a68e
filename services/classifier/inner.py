"""The model in a BentoML service of its own, as on a GPU: adaptively batched, one per GPU.

BentoML's services talk to each other in pickles, over a Unix socket in a folder that their user
alone can enter. The API service decodes and checks pictures before they get here.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from typing import Any, Final

import bentoml
import numpy as np
import psutil

from porcelain.bundle import load_bundle
from porcelain.errors import UserError
from porcelain.predictor import Predictor
from services.classifier.metrics import InferenceMetrics
from services.classifier.packing import pack
from services.classifier.settings import ClassifierSettings
from services.logs import configure_logs
from services.metrics import use_private_folder
from services.settings import load_settings
from services.store import BUNDLE, stored

NAME: Final = "porcelain_inference"
RUNNER_MAP: Final = "BENTOML_RUNNER_MAP"

SETTINGS: Final = load_settings(ClassifierSettings, bundle=stored(BUNDLE, "PORCELAIN_BUNDLE"))
_GPUS: dict[str, Any] = (
    {"resources": {"gpu": SETTINGS.gpus}, "workers": SETTINGS.gpus}
    if SETTINGS.device == "cuda"
    else {"workers": 1}
)


@bentoml.service(
    name=NAME,
    traffic={"timeout": SETTINGS.model_seconds},
    metrics={"enabled": False},  # its traffic is counted by the API service
    logging={"access": {"enabled": False}},
    # Its client would close a connection after 100 requests with others still in flight on it.
    runner_connection={"max_requests": 1_000_000_000, "max_age": 1e9},
    **_GPUS,
)
class Inference:
    """Runs decoded, checked pictures through the model."""

    def __init__(self) -> None:
        _require_private_socket()
        configure_logs()
        use_private_folder()
        if SETTINGS.device == "cuda":
            os.environ["CUDA_VISIBLE_DEVICES"] = str((bentoml.server_context.worker_index or 1) - 1)
        bundle = load_bundle(SETTINGS.bundle, "classifier")
        self._predictor = Predictor(bundle, threads=SETTINGS.threads, device=SETTINGS.device)
        self._predictor.warm_up()
        self._metrics = InferenceMetrics()

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    def outlive_callers(self) -> None:
        """Requests that API workers still hold on shutdown need the model."""
        _stop_after_callers(SETTINGS.shutdown_seconds)

    @bentoml.api(  # type: ignore[untyped-decorator]
        batchable=True, max_batch_size=SETTINGS.gpu_batch, max_latency_ms=SETTINGS.gpu_latency_ms
    )
    def infer(self, images: np.ndarray) -> np.ndarray:
        """Run uint8 [N, size, size, 3]; one packed row of outputs per picture, in order."""
        return self._rows(images, explain=False)

    @bentoml.api  # type: ignore[untyped-decorator]
    def explain(self, images: np.ndarray) -> np.ndarray:
        """As `infer`, with maps; unbatched, because one picture is already many calls."""
        return self._rows(images, explain=True)

    @bentoml.api  # type: ignore[untyped-decorator]
    def features(self, images: np.ndarray) -> np.ndarray:
        """Shared features [N, F], for the few who ask for similar pictures; so unbatched."""
        self._check(images)
        self._metrics.ran(len(images))
        features = self._predictor.run(images, features=True).features
        assert features is not None
        return features

    def _rows(self, images: np.ndarray, *, explain: bool) -> np.ndarray:
        self._check(images)
        self._metrics.ran(len(images))
        rows = pack(self._predictor.info, self._predictor.run(images, activation=explain))
        if len(rows) != len(images):  # BentoML would hand out the wrong rows
            raise RuntimeError(f"{len(images)} pictures gave {len(rows)} answers")
        return rows

    def _check(self, images: np.ndarray) -> None:
        size = self._predictor.info.input_size
        if images.dtype != np.uint8 or images.shape[1:] != (size, size, 3):
            raise ValueError(f"expected uint8 [N, {size}, {size}, 3], got {images.shape}")


def _require_private_socket() -> None:
    """Refuse to run where others can reach the model without keys and limits.

    Raises:
        UserError: The service listens elsewhere than on a Unix socket.
    """
    urls: dict[str, str] = json.loads(os.environ.get(RUNNER_MAP, "{}"))
    if not urls.get(NAME, "").startswith("file:"):
        raise UserError(
            f"{NAME} must not be started by itself, where anybody can reach it. Start the API "
            "service, which runs it behind a Unix socket."
        )


def _stop_after_callers(seconds: float) -> None:
    """On SIGTERM, which all processes of a server get at once, stop when no API worker is left.

    Args:
        seconds: How long to wait for them at most.
    """
    stop = signal.getsignal(signal.SIGTERM)
    server = psutil.Process(os.getppid())

    def callers() -> list[psutil.Process]:
        return [one for one in server.children() if NAME not in one.cmdline()]

    def wait(number: int) -> None:
        deadline = time.monotonic() + seconds
        try:
            while callers() and time.monotonic() < deadline:
                time.sleep(0.1)
        except psutil.Error:
            pass  # it has ended meanwhile
        if callable(stop):
            stop(number, None)

    def on_signal(number: int, _: object) -> None:
        threading.Thread(target=wait, args=(number,), daemon=True).start()

    signal.signal(signal.SIGTERM, on_signal)
