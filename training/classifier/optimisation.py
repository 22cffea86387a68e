"""Parameter groups, the rate schedule and the averaged weights of classifier training."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from training.classifier.model import MultiTaskClassifier
from training.classifier.settings import TrainSettings


def build_optimizer(model: MultiTaskClassifier, settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW with a lower rate for the backbone and no decay of biases and norms.

    Each group carries `share` (its rate relative to the peak) and `backbone` (whether it is frozen
    at first), which `set_rates` reads.
    """
    groups = []
    for part, share, is_backbone in (
        (model.backbone, settings.backbone_rate, True),
        (model.heads, 1.0, False),
    ):
        parameters = [p for p in part.parameters() if p.requires_grad]
        for chosen, decay in (
            ([p for p in parameters if p.ndim > 1], settings.weight_decay),
            ([p for p in parameters if p.ndim <= 1], 0.0),
        ):
            groups.append(
                {
                    "params": chosen,
                    "weight_decay": decay,
                    "share": share,
                    "backbone": is_backbone,
                }
            )
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)


def set_rates(
    optimizer: torch.optim.Optimizer, settings: TrainSettings, step: int, steps_per_epoch: int
) -> float:
    """Set every group's rate for `step`: linear warm-up, cosine fall, backbone frozen at first.

    Returns:
        The heads' rate.
    """
    total = settings.epochs * steps_per_epoch
    warmup = max(1.0, settings.warmup_epochs * steps_per_epoch)
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / max(1, total))))
    rate = settings.learning_rate * min(1.0, (step + 1) / warmup) * cosine
    frozen = step < settings.frozen_epochs * steps_per_epoch
    for group in optimizer.param_groups:
        group["lr"] = 0.0 if frozen and group["backbone"] else rate * group["share"]
    return rate


class WeightAverage:
    """Exponential moving average of a model's weights and buffers.

    The decay rises from 0.1 as (1 + n) / (10 + n), so that the first steps are forgotten soon.

    Attributes:
        state: Averaged state dict.
        updates: Number of updates so far.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.state: dict[str, Tensor] = {
            name: value.detach().clone() for name, value in model.state_dict().items()
        }

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the model's present weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        averages, values = [], []
        for name, value in model.state_dict().items():
            average = self.state[name]
            if average.dtype.is_floating_point:
                averages.append(average)
                values.append(value.detach().to(average.dtype))
            else:
                average.copy_(value)
        torch._foreach_lerp_(averages, values, 1.0 - decay)
