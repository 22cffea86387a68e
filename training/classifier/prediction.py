"""What a model in training answers, without a bundle."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.classifier.augmentation import to_unit_range
from training.classifier.model import MultiTaskClassifier
from training.classifier.pictures import Pictures

_TOGETHER = 64  # pictures in one call


@torch.inference_mode()
def predict(
    model: MultiTaskClassifier, pictures: Pictures, device: torch.device
) -> dict[str, npt.NDArray[np.float64]]:
    """Logits per task [N, classes] of pictures at the input size; leaves the model in evaluation.

    Args:
        model: As it is.
        pictures: Prepared as serving prepares them.
        device: Where to compute.
    """
    # Exporting moves the model to the CPU.
    model.to(device).eval()
    mean, std = (value.view(1, 3, 1, 1).to(device) for value in model.normalisation())
    parts: dict[str, list[Tensor]] = {task: [] for task in model.tasks}
    for start in range(0, len(pictures), _TOGETHER):
        pixels = torch.from_numpy(np.array(pictures.pixels[start : start + _TOGETHER]))
        images = (to_unit_range(pixels.to(device)) - mean) / std
        for task, value in model(images).items():
            parts[task].append(value.float().cpu())
    return {task: torch.cat(values).double().numpy() for task, values in parts.items()}
