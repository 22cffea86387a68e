"""The multi-task loss: unknown labels are masked, imbalance is met by one of three rules."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.classifier.settings import LossName

UNKNOWN = -1


def log_priors(counts: Tensor) -> Tensor:
    """Log share of the training pictures that each class has [classes], for prior correction.

    Args:
        counts: Training pictures per class [classes].

    Returns:
        0 for a class without pictures: what was never taught is not to be raised as what is rare.
    """
    number = counts.float()
    shares = torch.log((number + 0.5) / (number + 0.5).sum())
    return shares.where(number > 0, 0.0)


class MultiTaskLoss(nn.Module):
    """Sum over tasks of the cross-entropy over pictures whose label is known.

    Rules for imbalance:
        logit-adjusted: log class frequency is added to the logits while training, so that the
            plain logits separate classes as if they were equally frequent (Menon et al.,
            arXiv 2007.07314, tau = 1).
        class-balanced: each class weighs by its effective number of pictures (Cui et al.,
            arXiv 1901.05555, beta = 0.999).
        cross-entropy: neither.
    """

    def __init__(self, counts: dict[str, Tensor], loss: LossName, label_smoothing: float) -> None:
        """Prepare the rule.

        Args:
            counts: Training pictures per class, per task [classes].
            loss: The rule for imbalance.
            label_smoothing: Share of the target spread over all classes.
        """
        super().__init__()
        self.tasks = tuple(counts)
        self.label_smoothing = label_smoothing
        for task, count in counts.items():
            number = count.float()
            offset = torch.zeros_like(number)
            weight = torch.ones_like(number)
            if loss == "logit-adjusted":
                # Half a picture more, so that a class absent from training has a finite offset.
                offset = torch.log((number + 0.5) / number.sum())
            elif loss == "class-balanced":
                beta = 0.999
                weight = (1 - beta) / (1 - beta ** number.clamp(min=1.0))
                weight = weight / weight.mean()
            self.register_buffer(f"offset_{task}", offset)
            self.register_buffer(f"weight_{task}", weight)

    def forward(
        self, logits: dict[str, Tensor], labels: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Logits per task [B, classes] and class indices [B, tasks] to a scalar.

        A label of -1 is unknown and adds nothing; a task with no known label in the batch is 0.
        With weights [B] a task's loss is the weighted mean.
        """
        total = torch.zeros((), device=labels.device)
        for column, task in enumerate(self.tasks):
            target = labels[:, column]
            known = target != UNKNOWN
            losses = F.cross_entropy(
                logits[task] + self.get_buffer(f"offset_{task}"),
                target,
                weight=self.get_buffer(f"weight_{task}"),
                ignore_index=UNKNOWN,
                label_smoothing=self.label_smoothing,
                reduction="none",
            )
            if weights is None:
                # Dividing by a count of at least one keeps an all-unknown batch at zero, not NaN.
                total = total + losses.sum() / known.sum().clamp(min=1)
            else:
                counted = (weights * known).sum()
                total = total + (weights * losses).sum() / counted.where(counted > 0, 1.0)
        return total
