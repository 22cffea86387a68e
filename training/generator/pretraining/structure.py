"""How alike two pictures are in structure: similarity of local statistics, and gradients."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW = 8
STRIDE = 4
SCALES = 3
RANGE = 2.0
"""From -1 to 1."""


def structural_similarity(first: Tensor, second: Tensor) -> Tensor:
    """Mean structural similarity per picture over square windows.

    Source: Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity
    (2004), with uniform windows of 8 pixels every 4.

    Args:
        first: [B, 3, H, W] in [-1, 1].
        second: The same shape.

    Returns:
        [B], at most 1.
    """
    moments = torch.cat([first, second, first * first, second * second, first * second], dim=1)
    window = min(WINDOW, *first.shape[2:])
    means = F.avg_pool2d(moments, window, STRIDE).chunk(5, dim=1)
    mean_a, mean_b, square_a, square_b, product = means
    luminance = 2 * mean_a * mean_b + (0.01 * RANGE) ** 2
    contrast = 2 * (product - mean_a * mean_b) + (0.03 * RANGE) ** 2
    power = mean_a.square() + mean_b.square() + (0.01 * RANGE) ** 2
    variance = square_a - mean_a.square() + square_b - mean_b.square() + (0.03 * RANGE) ** 2
    return (luminance * contrast / (power * variance)).mean(dim=(1, 2, 3))


def structure_loss(output: Tensor, target: Tensor) -> Tensor:
    """What is lost of structure, at three scales: dissimilarity and error of gradients.

    It needs no weights. Similarity asks for the local contrast that absolute error alone blurs
    away (Zhao et al., Loss Functions for Image Restoration, arXiv 1511.08861); the gradients hold
    edges in their place.

    Args:
        output: [B, 3, H, W] in [-1, 1].
        target: The same shape.

    Returns:
        A scalar, 0 for equal pictures.
    """
    total = output.new_zeros(())
    for scale in range(SCALES):
        if scale:
            output, target = F.avg_pool2d(output, 2), F.avg_pool2d(target, 2)
        total = total + 0.5 * (1.0 - structural_similarity(output, target).mean())
        difference = output - target
        for axis in (2, 3):
            total = total + difference.diff(dim=axis).abs().mean()
    return total / SCALES
