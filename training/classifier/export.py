"""From a trained model to `model.onnx`, and the proof that both answer alike."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor, nn

from porcelain.errors import PorcelainError
from porcelain.predictor import FEATURES, INPUT
from training.classifier.calibration import LEAST_PROBABILITY
from training.classifier.model import MultiTaskClassifier

OPSET = 20
TOLERANCE = 1e-4
"""Largest difference of any probability between torch and ONNX Runtime that is accepted."""


class ServingModel(nn.Module):
    """What serving runs: bytes in, calibrated probabilities and features out."""

    def __init__(self, model: MultiTaskClassifier, temperatures: dict[str, float]) -> None:
        """Wrap a model.

        Args:
            model: The trained model.
            temperatures: Softmax temperature per task.
        """
        super().__init__()
        self.model = model
        self.temperatures = temperatures
        mean, std = model.normalisation()
        # (x / 255 - mean) / std as one multiplication and one addition
        self.register_buffer("scale", (1.0 / (255.0 * std)).view(1, 3, 1, 1))
        self.register_buffer("shift", (-mean / std).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Answer for a batch of pictures.

        Args:
            image: uint8 [B, H, W, 3], RGB.

        Returns:
            A probability tensor [B, classes] per task, then features [B, F].
        """
        normalised = image.permute(0, 3, 1, 2).to(torch.float32) * self.scale + self.shift
        features = self.model.features(self.model.feature_map(normalised))
        return (*self.probabilities(features), features)

    def probabilities(self, features: Tensor) -> list[Tensor]:
        """Calibrated probabilities [B, classes], a tensor per task, as `apply_temperature`'s."""
        found = []
        for task, logits in self.model.classify(features).items():
            rest = 1.0 - LEAST_PROBABILITY * logits.shape[1]
            shares = torch.softmax(logits / self.temperatures[task], dim=1)
            found.append(LEAST_PROBABILITY + rest * shares)
        return found


def export_onnx(
    model: MultiTaskClassifier, temperatures: dict[str, float], size: int, path: Path
) -> None:
    """Write `model.onnx`: uint8 NHWC in, dynamic batch, normalisation inside, one file."""
    serving = ServingModel(model.cpu().eval(), temperatures).eval()
    example = torch.zeros((2, size, size, 3), dtype=torch.uint8)
    names = [*model.tasks, FEATURES]
    # The exporter reports its own progress and torchvision's absence from the graph.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            serving,
            (example,),
            dynamo=True,
            input_names=[INPUT],
            output_names=names,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
            opset_version=OPSET,
            optimize=True,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise PorcelainError("torch.onnx.export returned nothing; report this with your backbone.")
    proto = program.model_proto
    # Source locations of this machine do not belong in a file that is shared.
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*proto.graph.value_info, *proto.graph.input, *proto.graph.output]:
        del value.metadata_props[:]
    for tensor in proto.graph.initializer:
        del tensor.metadata_props[:]
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)


def verify_onnx(
    path: Path,
    model: MultiTaskClassifier,
    temperatures: dict[str, float],
    pictures: npt.NDArray[np.uint8],
) -> float:
    """Run the file in a fresh process and compare it with torch.

    Args:
        path: The ONNX file.
        model: The model it was exported from.
        temperatures: As given to `export_onnx`.
        pictures: Prepared pictures, uint8 [N, size, size, 3].

    Returns:
        The largest absolute difference of any probability.

    Raises:
        PorcelainError: The process failed, or the difference is above `TOLERANCE`.
    """
    serving = ServingModel(model.cpu().eval(), temperatures).eval()
    with torch.no_grad():
        expected = [p.numpy() for p in serving(torch.from_numpy(pictures))[: len(model.tasks)]]
    folder = path.parent
    given, answered = folder / ".verify-pictures.npy", folder / ".verify-answers.npz"
    try:
        np.save(given, pictures)
        result = subprocess.run(
            [sys.executable, "-c", _FRESH_PROCESS, str(path), str(given), str(answered)],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise PorcelainError(f"{path} does not run in a fresh process: {result.stderr[-500:]}")
        with np.load(answered) as answers:
            difference = max(
                float(np.abs(answers[task] - value).max())
                for task, value in zip(model.tasks, expected, strict=True)
            )
    finally:
        given.unlink(missing_ok=True)
        answered.unlink(missing_ok=True)
    if not difference <= TOLERANCE:
        raise PorcelainError(
            f"{path.name} differs from torch by {difference:.1e}, more than {TOLERANCE:.0e}; "
            "it was not put into the bundle."
        )
    return difference


# Nothing of ours is imported: the file must run with ONNX Runtime alone.
_FRESH_PROCESS = f"""
import sys
import numpy
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
names = [output.name for output in session.get_outputs()]
values = session.run(names, {{"{INPUT}": numpy.load(sys.argv[2])}})
numpy.savez(sys.argv[3], **dict(zip(names, values)))
assert "torch" not in sys.modules
"""
