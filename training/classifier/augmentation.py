"""Augmentation of a whole batch at once, on the device that trains.

One resampling does zoom, shift, turn, stretch and mirror; one pass does the colours. Pictures come
in as bytes, so that a batch is moved once and decoded pictures can be kept for all epochs.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from training.classifier.settings import AugmentationSettings


def to_unit_range(pictures: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] to float [B, 3, H, W] in [0, 1], channels last in memory."""
    return pictures.permute(0, 3, 1, 2).float().div_(255.0)


def augment(
    pictures: Tensor, size: int, settings: AugmentationSettings, generator: torch.Generator
) -> Tensor:
    """A random view of each picture.

    Args:
        pictures: uint8 [B, H, W, 3].
        size: Side of the result in pixels.
        settings: How far a picture may be changed.
        generator: Source of randomness, on the pictures' device.

    Returns:
        float [B, 3, size, size] in [0, 1].
    """
    images = to_unit_range(pictures)
    grid = F.affine_grid(
        _transforms(len(images), settings, generator),
        [len(images), 3, size, size],
        align_corners=False,
    )
    views = F.grid_sample(
        images, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    return _colours(views, settings, generator)


def _transforms(count: int, settings: AugmentationSettings, generator: torch.Generator) -> Tensor:
    """Affine maps [B, 2, 3] from the view's coordinates to the picture's, both in [-1, 1]."""
    low, high = settings.zoom
    seen = low + (high - low) * torch.rand(count, generator=generator, device=generator.device)
    stretch = torch.exp(_symmetric(count, settings.stretch, generator))
    angle = _symmetric(count, math.radians(settings.rotation), generator)
    draw = torch.rand(count, generator=generator, device=generator.device)
    mirror = torch.where(draw < settings.flip, -1.0, 1.0)
    # The view may move as far as the picture reaches beyond it, and a little further.
    room = (1.0 - seen).clamp(min=0.0) + 0.04
    shift_x = _symmetric(count, 1.0, generator) * room
    shift_y = _symmetric(count, 1.0, generator) * room
    cosine, sine = angle.cos() * seen, angle.sin() * seen
    first = torch.stack([cosine * stretch * mirror, -sine * stretch, shift_x], dim=1)
    second = torch.stack([sine / stretch * mirror, cosine / stretch, shift_y], dim=1)
    return torch.stack([first, second], dim=1)


def _colours(images: Tensor, settings: AugmentationSettings, generator: torch.Generator) -> Tensor:
    count = len(images)

    def factor(extent: float, channels: int = 1) -> Tensor:
        return 1.0 + _symmetric(count * channels, extent, generator).view(count, channels, 1, 1)

    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = (images - mean) * factor(settings.colour) + mean
    grey = images.mean(dim=1, keepdim=True)
    images = (images - grey) * factor(settings.colour) + grey
    gain = factor(settings.colour) * factor(settings.hue, 3)
    return (images * gain).clamp_(0.0, 1.0)


def _symmetric(count: int, extent: float, generator: torch.Generator) -> Tensor:
    """`count` uniform draws in [-extent, extent]."""
    draws = torch.rand(count, generator=generator, device=generator.device)
    return (draws * 2.0 - 1.0) * extent
