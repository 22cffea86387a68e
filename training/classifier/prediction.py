"""What a model in training answers, without a bundle."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.classifier.augmentation import to_unit_range
from training.classifier.model import MultiTaskClassifier

_TOGETHER = 64  # pictures in one call


@torch.inference_mode()
def predict(
    model: MultiTaskClassifier,
    pixels: npt.NDArray[np.uint8],
    device: torch.device,
    rows: npt.NDArray[np.int64] | None = None,
) -> dict[str, npt.NDArray[np.float64]]:
    """Logits per task [N, classes] of pictures; leaves the model on the device, in evaluation.

    Args:
        model: As it is.
        pixels: uint8 [M, size, size, 3], at the input size, prepared as serving prepares them.
        device: Where to compute.
        rows: Which of them, [N]; by default all.
    """
    if rows is None:
        rows = np.arange(len(pixels))
    # Exporting moves the model to the CPU.
    model.to(device).eval()
    mean, std = (value.view(1, 3, 1, 1).to(device) for value in model.normalisation())
    parts: dict[str, list[Tensor]] = {task: [] for task in model.tasks}
    # Of no rows too, so that there are results of the right width.
    for start in range(0, max(1, len(rows)), _TOGETHER):
        some = torch.from_numpy(pixels[rows[start : start + _TOGETHER]])
        images = (to_unit_range(some.to(device)) - mean) / std
        for task, value in model(images).items():
            parts[task].append(value.float().cpu())
    return {task: torch.cat(values).double().numpy() for task, values in parts.items()}
