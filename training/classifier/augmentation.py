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
        float [B, 3, size, size] in [0, 1], channels last in memory.
    """
    transforms = _transforms(len(pictures), settings, generator)
    views = F.grid_sample(
        to_unit_range(pictures),
        _grid(transforms, size),
        mode="bilinear",
        padding_mode="reflection",
        align_corners=False,
    )
    return _colours(views, settings, generator).contiguous(memory_format=torch.channels_last)


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


def _grid(transforms: Tensor, size: int) -> Tensor:
    """Where each pixel of the views is seen, [B, size, size, 2]: `F.affine_grid`, 20 times faster.

    A coordinate is a term of the column plus a term of the row; nothing needs a matrix product.
    """
    centres = (torch.arange(size, device=transforms.device) + 0.5) * (2.0 / size) - 1.0
    grid = torch.empty((len(transforms), size, size, 2), device=transforms.device)
    for axis in range(2):
        of_column, of_row, shift = transforms[:, axis].unbind(1)
        columns = of_column[:, None] * centres
        rows = of_row[:, None] * centres + shift[:, None]
        torch.add(columns[:, None, :], rows[:, :, None], out=grid[..., axis])
    return grid


def _colours(images: Tensor, settings: AugmentationSettings, generator: torch.Generator) -> Tensor:
    """Contrast about the mean, saturation about each pixel's grey, and a gain per channel.

    All three are linear in a pixel, so that one 3 x 3 matrix per picture does them in one pass.
    """
    count = len(images)

    def factor(extent: float, channels: int = 1) -> Tensor:
        return 1.0 + _symmetric(count * channels, extent, generator).view(count, channels, 1)

    contrast, saturation = factor(settings.colour), factor(settings.colour)
    gain = factor(settings.colour) * factor(settings.hue, 3)
    own = torch.eye(3, device=images.device)
    matrix = gain * contrast * (saturation * own + (1.0 - saturation) / 3.0)
    offset = gain * (1.0 - contrast) * images.mean(dim=(1, 2, 3)).view(count, 1, 1)
    changed = torch.baddbmm(offset, matrix, images.flatten(2))
    return changed.view(images.shape).clamp_(0.0, 1.0)


def _symmetric(count: int, extent: float, generator: torch.Generator) -> Tensor:
    """`count` uniform draws in [-extent, extent]."""
    draws = torch.rand(count, generator=generator, device=generator.device)
    return (draws * 2.0 - 1.0) * extent
